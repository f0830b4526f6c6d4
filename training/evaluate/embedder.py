"""Embeddings of the chips of a corpus by the encoders of one run: a vector for each chip, per sensor and fused."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from training.batch import Batch
from training.data.row_batches import row_batches
from training.evaluate.encoder_view import EncoderView
from training.evaluate.finetuned import best_device
from training.evaluate.left_out import kept_bands
from training.layer import Layer
from training.weights.pretrained import Pretrained

FUSED = "fused"
BATCH_ROWS = 64

Vectors = dict[str, NDArray[np.float32]]


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

    @property
    def bands(self) -> dict[str, tuple[str, ...]]:
        """The bands of each layer that is looked at."""
        return {name: names for item in self.sensors for name, names in item.normalisation.band_names.items()}

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
        parts = [vectors for _, vectors in self.embed_each(corpus, jobs, without)]
        empty = np.empty((0, self.width), np.float32)
        return {view: np.concatenate([empty, *(part[view] for part in parts)])[places] for view in self.views}

    def embed_each(
        self, corpus: Corpus, jobs: Sequence[NDArray[np.int64]], without: Collection[str] = ()
    ) -> Iterator[tuple[NDArray[np.int64], Vectors]]:
        """Each of `jobs`, manifest rows, with its vectors by view as for `embed`; read ahead while others compute."""
        layers = [item.normalisation.layers_of(corpus.modalities) for item in self.sensors]
        kept = {name: item.to(self.device) for name, item in kept_bands(self.bands, without).items()}
        size_px = corpus.manifest.size_px
        image_px = max(item.chip_px(size_px) for item in self.sensors)
        every = [layer for of_sensor in layers for layer in of_sensor]
        with closing(row_batches(corpus, every, jobs, image_px, self.device)) as stream:
            computed = (self._of_batch(layers, batch, kept, size_px) for batch in stream)
            yield from zip(jobs, _fetched(computed), strict=True)

    @torch.inference_mode()
    def _of_batch(
        self, layers: Sequence[Sequence[Layer]], batch: Batch, kept: Mapping[str, Tensor], size_px: int
    ) -> dict[str, Tensor]:
        views = {
            sensor.name: sensor.of_chips(own, _centre(batch, own, sensor.chip_px(size_px)), kept)
            for sensor, own in zip(self.sensors, layers, strict=True)
        }
        return views | {FUSED: fused(tuple(views.values()))} if len(views) > 1 else views


def fused(views: Sequence[Tensor]) -> Tensor:
    """The mean of the views (rows, width) that each chip has, of length 1; NaN where it has none."""
    stacked = torch.stack(tuple(views))
    missing = stacked.isnan()
    total = stacked.masked_fill(missing, 0).sum(dim=0)
    return functional.normalize(total, dim=1).masked_fill(missing.all(dim=0), torch.nan)


def _centre(batch: Batch, layers: Sequence[Layer], image_px: int) -> Batch:
    """The centres of the chips of a batch, of the layers of one encoder."""
    names = [layer.name for layer in layers]
    first = (batch.values[names[0]].shape[-1] - image_px) // 2
    inside = slice(first, first + image_px)
    values, valid = (
        {name: arrays[name][..., inside, inside] for name in names} for arrays in (batch.values, batch.valid)
    )
    return Batch(values, valid, batch.visible, batch.rows)


def _fetched(computed: Iterator[dict[str, Tensor]]) -> Iterator[Vectors]:
    """Results as arrays; one is fetched from the device when the next is on its way there."""
    before: dict[str, Tensor] | None = None
    for result in computed:
        if before is not None:
            yield {name: item.cpu().numpy() for name, item in before.items()}
        before = result
    if before is not None:
        yield {name: item.cpu().numpy() for name, item in before.items()}


def _refuse_strangers(sensors: Sequence[EncoderView]) -> None:
    names = [sensor.name for sensor in sensors]
    if len(set(names)) != len(names):
        raise Fatal(f"two of these encoders look at the same layers ({', '.join(names)}); give one for each sensor.")
    if len({sensor.chip_width for sensor in sensors}) > 1:
        raise Fatal(f"the encoders of {', '.join(names)} have vectors of other widths; give those of one run.")
