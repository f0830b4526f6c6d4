"""Embeddings of the chips of a corpus by the encoders of one run: a vector for each chip, per sensor and fused."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from training.evaluate.embedding_stream import Embedded, EmbeddingStream, Pair
from training.evaluate.encoder_view import EncoderView
from training.evaluate.finetuned import best_device
from training.evaluate.left_out import kept_bands
from training.weights.pretrained import Pretrained

FUSED = "fused"
BATCH_ROWS = 64


@dataclass(frozen=True)
class Embedder:
    """One encoder, or the towers of one contrastive run, as what makes vectors of chips."""

    sensors: tuple[EncoderView, ...]
    device: torch.device

    @classmethod
    def of(cls, pretrained: Sequence[Pretrained], device: torch.device | None = None) -> Embedder:
        """An embedder of one encoder or of several towers, on `device`; a GPU where torch finds one by default.

        Raises `Fatal` for several that are not the towers of one run.
        """
        sensors = tuple(EncoderView.of(item) for item in pretrained)
        if len(sensors) > 1:
            _refuse_strangers(sensors)
        on = device or best_device()
        for sensor in sensors:
            sensor.encoder.to(on)
        return cls(sensors, on)

    @property
    def views(self) -> tuple[str, ...]:
        """A view by each encoder, called as its layers; where there are several, "fused" is their mean of length 1."""
        names = tuple(sensor.name for sensor in self.sensors)
        return (*names, FUSED) if len(names) > 1 else names

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return self.sensors[0].chip_width

    def shape(self, size_px: int) -> tuple[int, ...]:
        """The shape of what a chip of `size_px` gets: (width,)."""
        return (self.width,)

    @property
    def pixel_px(self) -> int:
        """The edge, in pixels of a chip, of what is one pixel in a map of its vector: 1, as it is one for all."""
        return 1

    def image_px(self, size_px: int) -> int:
        """The edge of the centre that is looked at, of chips of `size_px`: the largest, where encoders differ."""
        return max(sensor.chip_px(size_px) for sensor in self.sensors)

    @property
    def channels(self) -> dict[str, tuple[str, ...]]:
        """The channels that each view looks at, such as "sentinel2.B8"."""
        return channels_of(self.sensors, self.views)

    def narrowed(self, without: Collection[str]) -> tuple[Self, tuple[str, ...]]:
        """The same of the encoders of which `without` leaves something, and what of `without` concerns these.

        Raises `Fatal` as `embed` does for a name that there is not.
        """
        sensors = remaining(self.sensors, without)
        layers = {layer for sensor in sensors for layer in sensor.normalisation.band_names}
        return replace(self, sensors=sensors), tuple(name for name in without if name.partition(".")[0] in layers)

    def embed(
        self, corpus: Corpus, rows: NDArray[np.int64], without: Collection[str] = (), batch_rows: int = BATCH_ROWS
    ) -> Mapping[str, NDArray[np.float32]]:
        """Vectors (rows, width) float32 of the centres of the chips in manifest `rows`, in any order, by view.

        They are NaN in the rows of a chip of which the view has no data. `without` names sensors ("sentinel1") or
        channels ("sentinel2.B8") that are left out. Raises `Fatal` for a name in it that there is not, for a corpus
        that lacks a layer, and for rows that are not exported.
        """
        once, places = np.unique(np.asarray(rows, dtype=np.int64), return_inverse=True)
        jobs = np.split(once, range(batch_rows, len(once), batch_rows)) if len(once) else []
        parts = [item.vectors for item in self.embed_each(corpus, jobs, without)]
        empty = np.empty((0, self.width), np.float32)
        return {view: np.concatenate([empty, *(part[view] for part in parts)])[places] for view in self.views}

    def embed_each(
        self, corpus: Corpus, jobs: Sequence[NDArray[np.int64]], without: Collection[str] = ()
    ) -> Iterator[Embedded]:
        """Each of `jobs`, manifest rows (rows,) int64, embedded as by `embed`; raises as that does."""
        size_px = corpus.manifest.size_px
        stream = EmbeddingStream(
            self.sensors, self.device, kept_of(self.sensors, without),
            lambda sensor: sensor.chip_px(size_px), EncoderView.of_chips, _with_fused,
        )  # fmt: skip
        return stream.of(corpus, jobs)


def channels_of(sensors: Sequence[EncoderView], views: Collection[str]) -> dict[str, tuple[str, ...]]:
    """The channels of each of `views`, such as "sentinel2.B8"; those of all sensors for the fused one."""
    own = {
        sensor.name: tuple(f"{layer}.{band}" for layer, bands in sensor.normalisation.band_names.items()
                           for band in bands)
        for sensor in sensors
    }  # fmt: skip
    every = tuple(channel for channels in own.values() for channel in channels)
    return {view: own.get(view, every) for view in views}


def kept_of(sensors: Sequence[EncoderView], without: Collection[str]) -> dict[str, Tensor]:
    """Which bands are used, as `kept_bands` gives them; raises as that does."""
    bands = {name: names for item in sensors for name, names in item.normalisation.band_names.items()}
    return kept_bands(bands, without)


def remaining(sensors: Sequence[EncoderView], without: Collection[str]) -> tuple[EncoderView, ...]:
    """The encoders of which something is left; raises `Fatal` as `kept_bands` does."""
    kept = kept_of(sensors, without)
    return tuple(item for item in sensors if any(bool(kept[name].any()) for name in item.normalisation.band_names))


def fused(views: Sequence[Tensor]) -> Tensor:
    """The mean of the views (rows, width) that each chip has, of length 1; NaN where it has none."""
    stacked = torch.stack(tuple(views))
    missing = stacked.isnan()
    total = stacked.masked_fill(missing, 0).sum(dim=0)
    return functional.normalize(total, dim=1).masked_fill(missing.all(dim=0), torch.nan)


def _with_fused(views: dict[str, Pair]) -> dict[str, Pair]:
    if len(views) == 1:
        return views
    vectors, shares = zip(*views.values(), strict=True)
    return views | {FUSED: (fused(vectors), torch.stack(shares).mean(dim=0))}


def _refuse_strangers(sensors: Sequence[EncoderView]) -> None:
    names = [sensor.name for sensor in sensors]
    if len(set(names)) != len(names):
        raise Fatal(f"two of these encoders look at the same layers ({', '.join(names)}); give one for each sensor.")
    if len({sensor.chip_width for sensor in sensors}) > 1:
        raise Fatal(f"the encoders of {', '.join(names)} have vectors of other widths; give those of one run.")
