"""Chips of one process, open for reading: stored values of any row, and where it is."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.corpus import Corpus
from training.data.chip_places import ChipPlaces
from training.data.chip_reader import ChipReader
from training.data.decode import Decoder
from training.data.read_ahead import ReadAhead, Run
from training.data.reader import open_reader
from training.layer import Layer

Stored = Callable[[str, int], NDArray[Any]]


class OpenChips:
    """Readers of `layers`, all bands of them, for the process that makes it; safe for many threads.

    `read_rows` is how many neighbours are read at once where chips cannot be read one by one.
    """

    def __init__(self, folder: Path, layers: Sequence[Layer], shards: Collection[int], read_rows: int) -> None:
        corpus = Corpus.open(folder)
        self.process = os.getpid()
        self._is_afar, self._shard_rows = corpus.store.folder is None, corpus.shard_rows
        self.places = ChipPlaces(corpus)
        pixel, image = [item for item in layers if item.pixel], [item for item in layers if not item.pixel]
        self._readers = {item.name: open_reader(corpus, item.name, read_rows) for item in pixel}
        size_px = corpus.manifest.size_px
        self._shapes = {item.name: (item.modality.shape(size_px), np.dtype(item.modality.dtype)) for item in pixel}
        whole = [Layer(item.modality, tuple(range(len(item.modality.bands))), {}) for item in image]
        self._vectors = Decoder(corpus, whole, shards, read_rows).vectors(slice(None))
        self._threads = threading.local()

    @contextmanager
    def at_hand(self, rows: Sequence[int]) -> Iterator[Stored]:
        """What gives the stored values of a layer for each of `rows`, once a layer and in any order.

        Chips of a bucket are fetched at once, neighbours by one request.
        """
        if not self._is_afar:
            yield self.stored
            return
        with closing(ReadAhead(self._readers, self._shard_rows, iter([rows]), len(rows))) as ahead:
            ahead.advance(len(rows))
            runs = {row: ahead.take(row) for row in rows}
            yield partial(self._of, runs)

    def _of(self, runs: Mapping[int, Run], name: str, row: int) -> NDArray[Any]:
        return self._vectors[name][row] if name in self._vectors else self._chip(runs[row].reader(name), name, row)

    def stored(self, name: str, row: int) -> NDArray[Any]:
        """Stored values of one chip, (bands[, y, x]); they stay until this thread asks for the next of this layer."""
        return self._vectors[name][row] if name in self._vectors else self._chip(self._readers[name], name, row)

    def _chip(self, reader: ChipReader, name: str, row: int) -> NDArray[Any]:
        held = self._threads.__dict__
        if name not in held:
            held[name] = np.empty(*self._shapes[name])
        return reader.chip(row, held[name])
