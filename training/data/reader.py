"""Chips of one modality by manifest row: from shard files, from a bucket, or else through zarr-python."""

from __future__ import annotations

import logging
import mmap
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from pipeline.corpus import Corpus
from pipeline.shard_object import EMPTY, ShardObject, tail_bytes
from training.data.chip_cache import ChipCache
from training.data.chip_reader import ChipReader
from training.data.chunk_layout import ChunkLayout, obstacle
from training.data.joined_corpus import JoinedCorpus
from training.data.joined_reader import AbsentReader, CentreReader, JoinedReader, Part
from training.data.open_files import shards_at_once
from training.data.pages import bring_in
from training.data.range_reader import RangeReader
from training.data.shared_results import SharedResults
from training.data.stored_layer import StoredLayer

_CACHED_SPANS = 16  # Of `SpanReader`, per modality: the blocks of two shuffles.

_log = logging.getLogger(__name__)


def open_reader(corpus: Corpus, name: str, span_rows: int, cache: ChipCache | None = None) -> ChipReader:
    """The fastest reader for a pixel-level modality; logs one sentence where that is `SpanReader`.

    `span_rows` is the number of neighbouring rows that are read at once where a row is asked for that was not fetched.
    What comes from a bucket is kept in `cache`. Of joined corpora it is a reader of the readers of each.
    """
    if isinstance(corpus, JoinedCorpus):
        return _joined_reader(corpus, name, span_rows, cache)
    with corpus.store.reading():
        array = zarr.open_array(corpus.store.zarr(read_only=True), path=name, mode="r")
    problem = obstacle(corpus, array)
    if problem is not None:
        _log.warning("%r %s; it is read through zarr-python, many times slower.", name, problem)
        return SpanReader(corpus, name, span_rows)
    layer = StoredLayer(corpus, name, ChunkLayout.of(corpus, array))
    return RangeReader(layer, span_rows, cache) if corpus.store.folder is None else ShardReader(layer)


def _joined_reader(corpus: JoinedCorpus, name: str, span_rows: int, cache: ChipCache | None) -> JoinedReader:
    modality, parts = corpus.modality(name), list[Part]()
    for part, first_row in zip(corpus.parts, corpus.first_rows, strict=True):
        reader: ChipReader = AbsentReader(modality)
        if name in part.modalities:
            reader = open_reader(part, name, span_rows, cache)
            if part.manifest.size_px > corpus.size_px:
                reader = CentreReader(reader, modality, part.manifest.size_px, corpus.size_px)
        parts.append(Part(reader, first_row, part.shard_rows))
    return JoinedReader(parts)


class ShardReader:
    """Decodes inner chunks from memory-mapped shard files; the index of an open shard stays in memory.

    A chip takes one call that sums up its bytes, and one call of Blosc, which releases the GIL.
    """

    def __init__(self, layer: StoredLayer) -> None:
        self._layer, self._shard_rows = layer, layer.layout.shard_rows
        self._opened = lru_cache(maxsize=shards_at_once())(self._open)
        self._verified: dict[int, str | None] = {}  # The checksum of the index of each shard that was open.

    def chip(self, row: int, scratch: NDArray[Any]) -> NDArray[Any]:
        """Decode into `scratch`; rows without an inner chunk or without a file are the fill value."""
        index, place = divmod(row, self._shard_rows)
        return self._layer.decode(self._opened(index), place, row, scratch)

    def fetched(self, rows: Sequence[int]) -> ChipReader:
        """Itself, once the pages of the file that hold the chips are in memory."""
        index = rows[0] // self._shard_rows
        shard = self._opened(index)
        if shard is not None:
            ranges = [shard.byte_range(row - index * self._shard_rows) for row in rows]
            stored = [(offset, offset + length) for offset, length in ranges if length != EMPTY]
            for start, stop in _joined(stored):
                bring_in(self._path(index), start, stop)
        return self

    def _path(self, index: int) -> Path:
        return self._layer.corpus.object_path(self._layer.name, self._layer.corpus.shards[index])

    def _open(self, index: int) -> ShardObject | None:
        layer, path = self._layer, self._path(index)
        # A large corpus has a shard for nearly every run that is in use; to ask the ledger again would cost more.
        mark = None if index in self._verified else layer.mark(index)
        try:
            shard = ShardObject.of(_mapped(path, tail_bytes(self._shard_rows)), self._shard_rows)
        except FileNotFoundError:
            layer.refuse_none(mark or layer.mark(index))
            return None
        except ValueError as error:
            raise layer.damaged(index, str(error)) from error
        if mark is not None or self._verified[index] != shard.index_crc32c:
            layer.refuse_other(mark or layer.mark(index), shard.index_crc32c)
        self._verified[index] = shard.index_crc32c
        return shard


def _joined(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans [start, stop), of which those that touch are one."""
    result: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if result and start <= result[-1][1]:
            result[-1] = result[-1][0], max(stop, result[-1][1])
        else:
            result.append((start, stop))
    return result


def _mapped(path: Path, tail: int) -> NDArray[np.uint8]:
    """The bytes of a file, mapped into memory, the last `tail` of them read; raises `ValueError` for an empty one."""
    with path.open("rb") as stream:
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    bring_in(path, max(0, len(mapped) - tail), len(mapped))
    return np.frombuffer(mapped, np.uint8)


class SpanReader:
    """Reads `span_rows` neighbouring rows at a time through `Corpus.read`, from any store, and caches a few spans."""

    def __init__(self, corpus: Corpus, name: str, span_rows: int) -> None:
        self._corpus, self._name, self._span_rows = corpus, name, span_rows
        self._spans = SharedResults(self._read, _CACHED_SPANS)

    def chip(self, row: int, scratch: NDArray[Any]) -> NDArray[Any]:
        """A view of the cached span."""
        shard, index_in_shard = divmod(row, self._corpus.shard_rows)
        start = shard * self._corpus.shard_rows + index_in_shard // self._span_rows * self._span_rows
        return self._spans(start)[row - start]

    def fetched(self, rows: Sequence[int]) -> ChipReader:
        """Itself, with nothing read: its cache may be too small for what is ahead."""
        return self

    def _read(self, start: int) -> NDArray[Any]:
        shard = self._corpus.shards[start // self._corpus.shard_rows]
        return self._corpus.read(self._name, slice(start, min(start + self._span_rows, shard.stop)))
