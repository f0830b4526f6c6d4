"""A layer whose bands are an embedding of each pixel already, such as AlphaEarth's, as what makes vectors of chips."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.modality import Modality
from training.data.row_batches import row_batches
from training.evaluate.embedding_stream import Embedded
from training.evaluate.left_out import kept_bands
from training.layer import Layer, groups_of
from training.standardiser import Moments

BATCH_ROWS = 64
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class LayerEmbedder:
    """The mean over the pixels of a chip of the bands of a layer, made a vector of length 1 again."""

    modality: Modality

    @classmethod
    def of(cls, modality: Modality) -> LayerEmbedder:
        """Raises `Fatal` for a layer that has classes, or one value per chip."""
        if modality.categories or modality.extent != "pixel":
            what = "classes" if modality.categories else "one value per chip"
            raise Fatal(f"layer {modality.name!r} has {what}, and no embedding of pixels; name another layer.")
        return cls(modality)

    @property
    def views(self) -> tuple[str, ...]:
        """The name of the layer."""
        return (self.modality.name,)

    @property
    def width(self) -> int:
        """Numbers in a vector: one per band."""
        return len(self.modality.bands)

    @property
    def pixel_px(self) -> int:
        """1: a vector is one for all of a chip."""
        return 1

    @property
    def channels(self) -> dict[str, tuple[str, ...]]:
        """The bands, such as "alphaearth.A00"."""
        return {self.modality.name: tuple(f"{self.modality.name}.{band}" for band in self.modality.band_names)}

    def shape(self, size_px: int) -> tuple[int, ...]:
        """The shape of what a chip of `size_px` gets: (width,)."""
        return (self.width,)

    def image_px(self, size_px: int) -> int:
        """The whole chip."""
        return size_px

    def narrowed(self, without: Collection[str]) -> tuple[Self, tuple[str, ...]]:
        """Itself; raises `Fatal` for a name that there is not, and where nothing is left."""
        self._kept(without)
        return self, tuple(without)

    def embed(
        self, corpus: Corpus, rows: NDArray[np.int64], without: Collection[str] = (), batch_rows: int = BATCH_ROWS
    ) -> Mapping[str, NDArray[np.float32]]:
        """Vectors (rows, width) float32 of length 1 of the chips in manifest `rows`, one or more, by view.

        NaN without any pixel whose bands are all there. Bands in `without` are 0. Raises `Fatal` as `Embedder.embed`.
        """
        jobs = np.split(np.asarray(rows, np.int64), range(batch_rows, len(rows), batch_rows))
        parts = [item.vectors for item in self.embed_each(corpus, jobs, without)]
        return {view: np.concatenate([part[view] for part in parts]) for view in self.views}

    def embed_each(
        self, corpus: Corpus, jobs: Sequence[NDArray[np.int64]], without: Collection[str] = ()
    ) -> Iterator[Embedded]:
        """Each of `jobs`, manifest rows (rows,) int64, embedded as by `embed`."""
        kept, name = self._kept(without), self.modality.name
        layer = _in_units(corpus, corpus.modality(name))
        with closing(row_batches(corpus, [layer], jobs, corpus.manifest.size_px, _CPU)) as stream:
            for rows, batch in zip(jobs, stream, strict=True):
                vectors, share = _means(batch.values[name], batch.valid[name], kept)
                yield Embedded(rows, {name: vectors.numpy()}, {name: share.numpy()})

    def _kept(self, without: Collection[str]) -> Tensor:
        return kept_bands({self.modality.name: self.modality.band_names}, without)[self.modality.name]


def _in_units(corpus: Corpus, modality: Modality) -> Layer:
    """The layer with moments that turn stored numbers into physical ones."""
    width = len(modality.bands)
    mean, std = (np.full(width, value, np.float32) for value in (-modality.offset / modality.scale, 1 / modality.scale))
    same = Moments(mean, std, np.ones(width, np.bool_))
    every = Layer(modality, tuple(range(width)), {})
    return Layer(modality, every.bands, {str(group): same for group in np.unique(groups_of(corpus, every))})


def _means(values: Tensor, valid: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors (rows, bands) of length 1, and the share of pixels all of whose bands in use are there."""
    seen = (valid | ~kept[None, :, None, None]).all(dim=1, keepdim=True)
    total = (values * (seen & kept[None, :, None, None])).sum(dim=(2, 3))
    share = seen.flatten(1).float().mean(dim=1)
    return functional.normalize(total, dim=1).masked_fill(share[:, None] == 0, torch.nan), share
