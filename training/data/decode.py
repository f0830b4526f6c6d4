"""Stored values of any rows, cropped: pixels decoded into a caller's arrays, vectors held in memory."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.corpus import Corpus
from training.data.reader import ChipReader, open_reader
from training.layer import Layer


class Decoder:
    """Reads the chosen bands of `layers`; safe for many threads.

    A chip is decoded whole into an array of the thread's own, which stays in its core's cache, and cropped out of
    there: that costs no more than decoding into the batch, as measured, and leaves fewer bytes to hand over.
    """

    def __init__(self, corpus: Corpus, layers: Sequence[Layer], shards: Collection[int], run: int) -> None:
        size_px = corpus.manifest.size_px
        self._layers = [layer for layer in layers if layer.pixel]
        self._readers: dict[str, ChipReader] = {item.name: open_reader(corpus, item.name, run) for item in self._layers}
        self._runs = {layer.name: list(_runs(layer.bands)) for layer in self._layers}
        self._shapes = {
            item.name: (item.modality.shape(size_px), np.dtype(item.modality.dtype)) for item in self._layers
        }
        self._vectors = {item.name: _vectors(corpus, item, shards) for item in layers if not item.pixel}
        self._threads = threading.local()

    def shapes(self, rows: int, image_px: int) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Shape and dtype of what `pixels` fills, by modality, for so many rows."""
        return {
            layer.name: ((rows, len(layer.bands), image_px, image_px), np.dtype(layer.modality.dtype))
            for layer in self._layers
        }

    def pixels(self, into: Mapping[str, NDArray[Any]], rows: Sequence[int], corners_yx: NDArray[np.int64]) -> None:
        """Fill `into` (rows, chosen bands, y, x) by modality with crops whose top left corners are given, (rows, 2)."""
        corners = corners_yx.tolist()
        for layer in self._layers:
            self._fill(layer.name, into[layer.name], rows, corners)

    def _fill(self, name: str, into: NDArray[Any], rows: Sequence[int], corners_yx: list[list[int]]) -> None:
        reader, scratch, runs, size = self._readers[name], self._scratch(name), self._runs[name], into.shape[-1]
        for index, (row, (y, x)) in enumerate(zip(rows, corners_yx, strict=True)):
            crop = reader.chip(row, scratch)[:, y : y + size, x : x + size]
            for chosen, stored in runs:
                into[index, chosen] = crop[stored]

    def _scratch(self, name: str) -> NDArray[Any]:
        """An array of this thread for one chip."""
        held = self._threads.__dict__
        if name not in held:
            shape, dtype = self._shapes[name]
            held[name] = np.empty(shape, dtype)
        result: NDArray[Any] = held[name]
        return result

    def vectors(self, rows: NDArray[np.int64] | slice) -> dict[str, NDArray[Any]]:
        """Stored values (rows, chosen bands) of the modalities with one value per chip."""
        return {name: values[rows] for name, values in self._vectors.items()}


def _runs(bands: Sequence[int]) -> list[tuple[slice, slice]]:
    """Chosen bands as runs of neighbours: (their places among the chosen, their places in the store)."""
    places = groupby(range(len(bands)), lambda place: bands[place] - place)
    spans = [list(members) for _, members in places]
    return [(slice(one[0], one[-1] + 1), slice(bands[one[0]], bands[one[-1]] + 1)) for one in spans]


def _vectors(corpus: Corpus, layer: Layer, shards: Collection[int]) -> NDArray[Any]:
    """All rows of `shards` of an image-level layer, read at once; other rows are nodata."""
    held = np.full((len(corpus.manifest), len(layer.bands)), layer.modality.fill)
    for _, members in groupby(enumerate(sorted(shards)), lambda pair: pair[1] - pair[0]):
        indices = [index for _, index in members]
        rows = slice(corpus.shards[indices[0]].start, corpus.shards[indices[-1]].stop)
        held[rows] = corpus.read(layer.name, rows)[:, list(layer.bands)]
    return held
