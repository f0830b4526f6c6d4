"""Batches of chips through one or more encoders, in order: the next ones are read while one is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.corpus import Corpus
from training.batch import Batch
from training.data.row_batches import row_batches
from training.evaluate.encoder_view import EncoderView
from training.layer import Layer

Pair = tuple[Tensor, Tensor]
Compute = Callable[[EncoderView, Sequence[Layer], Batch, Mapping[str, Tensor]], Pair]


@dataclass(frozen=True)
class Embedded:
    """`rows` (rows,) of the manifest, and by view `vectors` (rows, width[, y, x]) and `valid_share` (rows,), float32.

    Vectors are NaN where the view has no data; `valid_share` is how much of the values in use is data.
    """

    rows: NDArray[np.int64]
    vectors: Mapping[str, NDArray[np.float32]]
    valid_share: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class EmbeddingStream:
    """Encoders on a device, the bands of each layer that are `kept` (bands,) bool, and what is computed of a batch."""

    sensors: Sequence[EncoderView]
    device: torch.device
    kept: Mapping[str, Tensor]
    image_px_of: Callable[[EncoderView], int]
    compute: Compute
    join: Callable[[dict[str, Pair]], dict[str, Pair]]

    def of(self, corpus: Corpus, jobs: Sequence[NDArray[np.int64]]) -> Iterator[Embedded]:
        """Each of `jobs`, manifest rows (rows,) int64, embedded. Raises `Fatal` as `row_batches` does.

        A result is fetched from the device while the next one is computed.
        """
        layers = [item.normalisation.layers_of(corpus.modalities) for item in self.sensors]
        every = [layer for of_sensor in layers for layer in of_sensor]
        image_px = max(self.image_px_of(item) for item in self.sensors)
        before: tuple[NDArray[np.int64], dict[str, Pair]] | None = None
        with closing(row_batches(corpus, every, jobs, image_px, self.device)) as stream:
            for rows, batch in zip(jobs, stream, strict=True):
                result = self._of_batch(layers, batch)
                if before is not None:
                    yield _fetched(*before)
                before = rows, result
            if before is not None:
                yield _fetched(*before)

    @torch.inference_mode()
    def _of_batch(self, layers: Sequence[Sequence[Layer]], batch: Batch) -> dict[str, Pair]:
        return self.join({
            sensor.name: self.compute(sensor, own, _centre(batch, own, self.image_px_of(sensor)), self.kept)
            for sensor, own in zip(self.sensors, layers, strict=True)
        })  # fmt: skip


def _centre(batch: Batch, layers: Sequence[Layer], image_px: int) -> Batch:
    """The centres of the chips of a batch, of the layers of one encoder."""
    names = [layer.name for layer in layers]
    first = (batch.values[names[0]].shape[-1] - image_px) // 2
    inside = slice(first, first + image_px)
    values, valid = (
        {name: arrays[name][..., inside, inside] for name in names} for arrays in (batch.values, batch.valid)
    )
    return Batch(values, valid, batch.visible, batch.rows)


def _fetched(rows: NDArray[np.int64], result: Mapping[str, Pair]) -> Embedded:
    vectors, shares = ({name: pair[part].cpu().numpy() for name, pair in result.items()} for part in (0, 1))
    return Embedded(rows, vectors, shares)
