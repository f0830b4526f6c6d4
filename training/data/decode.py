"""Stored values of any rows: pixels decoded and cropped into arrays of the caller, vectors held in memory."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.corpus import Corpus
from training.data.chip_cache import ChipCache
from training.data.chip_reader import ChipReader
from training.data.read_ahead import ReadAhead, Run
from training.data.reader import open_reader
from training.layer import Layer


class Decoder:
    """Reads the chosen bands of `layers`; safe for many threads.

    A whole chip is decoded into an array of the thread, which stays in the cache of its core, and cropped from there.
    By measurement this takes as long as decoding into the batch, and fewer bytes go to the device. `span_rows` is the
    number of rows that are read at once where nothing was fetched ahead; `cache` keeps what comes from a bucket.
    """

    def __init__(
        self,
        corpus: Corpus,
        layers: Sequence[Layer],
        shards: Collection[int],
        span_rows: int,
        cache: ChipCache | None = None,
    ) -> None:
        size_px, self._shard_rows = corpus.manifest.size_px, corpus.shard_rows
        self._layers = [layer for layer in layers if layer.pixel]
        self._readers: dict[str, ChipReader] = {
            item.name: open_reader(corpus, item.name, span_rows, cache) for item in self._layers
        }
        self._band_spans = {layer.name: list(_band_spans(layer.bands)) for layer in self._layers}
        self._shapes = {
            item.name: (item.modality.shape(size_px), np.dtype(item.modality.dtype)) for item in self._layers
        }
        self._vectors = {item.name: _vectors(corpus, item, shards) for item in layers if not item.pixel}
        self._threads = threading.local()

    def shapes(self, rows: int, image_px: int) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Shape and dtype of the arrays that `pixels` fills, by modality, for so many rows."""
        return {
            layer.name: ((rows, len(layer.bands), image_px, image_px), np.dtype(layer.modality.dtype))
            for layer in self._layers
        }

    @property
    def chip_bytes(self) -> float:
        """About what a chip of all layers takes in a store: half of its pixels' size."""
        return max(1.0, sum(float(np.prod(shape)) * dtype.itemsize for shape, dtype in self._shapes.values()) / 2)

    def read_ahead(self, rows: Iterator[Sequence[int]], spread: int) -> ReadAhead:
        """What has the chips of `rows`, given job by job, fetched before `pixels` decodes them; close it."""
        return ReadAhead(self._readers, self._shard_rows, rows, spread)

    def pixels(
        self,
        into: Mapping[str, NDArray[Any]],
        rows: Sequence[int],
        corners_yx: NDArray[np.int64],
        ahead: ReadAhead,
    ) -> None:
        """Fill `into`, by modality (rows, chosen bands, y, x), with crops at top left `corners_yx` (rows, 2).

        `ahead` was told of these rows, and is asked for each of them once.
        """
        chips = [(ahead.take(row), row, y, x) for row, (y, x) in zip(rows, corners_yx.tolist(), strict=True)]
        for layer in self._layers:
            self._fill(layer.name, into[layer.name], chips)

    def _fill(self, name: str, into: NDArray[Any], chips: Sequence[tuple[Run, int, int, int]]) -> None:
        scratch, spans, size = self._scratch(name), self._band_spans[name], into.shape[-1]
        for index, (run, row, y, x) in enumerate(chips):
            crop = run.reader(name).chip(row, scratch)[:, y : y + size, x : x + size]
            for chosen, stored in spans:
                into[index, chosen] = crop[stored]

    def _scratch(self, name: str) -> NDArray[Any]:
        """The array of this thread for one chip."""
        arrays = self._threads.__dict__
        if name not in arrays:
            shape, dtype = self._shapes[name]
            arrays[name] = np.empty(shape, dtype)
        result: NDArray[Any] = arrays[name]
        return result

    def vectors(self, rows: NDArray[np.int64] | slice) -> dict[str, NDArray[Any]]:
        """Values (rows, chosen bands), in the stored dtype, of the modalities with one value per chip."""
        return {name: values[rows] for name, values in self._vectors.items()}


def _band_spans(bands: Sequence[int]) -> list[tuple[slice, slice]]:
    """Contiguous spans of the chosen bands: (their slice among the chosen bands, their slice in the store)."""
    groups = groupby(range(len(bands)), lambda index: bands[index] - index)
    spans = [list(members) for _, members in groups]
    return [(slice(span[0], span[-1] + 1), slice(bands[span[0]], bands[span[-1]] + 1)) for span in spans]


def _vectors(corpus: Corpus, layer: Layer, shards: Collection[int]) -> NDArray[Any]:
    """Values (manifest rows, chosen bands) of an image-level layer, read once; rows outside `shards` are nodata."""
    values = np.full((len(corpus.manifest), len(layer.bands)), layer.modality.fill)
    for _, members in groupby(enumerate(sorted(shards)), lambda pair: pair[1] - pair[0]):
        indices = [index for _, index in members]
        rows = slice(corpus.shards[indices[0]].start, corpus.shards[indices[-1]].stop)
        values[rows] = corpus.read(layer.name, rows)[:, list(layer.bands)]
    return values
