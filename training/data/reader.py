"""Chips of one modality by manifest row: directly from shard files, or else through zarr-python."""

from __future__ import annotations

import logging
import mmap
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import zarr
from numcodecs import blosc
from numpy.typing import NDArray

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.first_use import damaged, other_object, unfinished
from pipeline.ledger import ABSENT, Mark
from pipeline.shard_object import ShardObject

_OPEN_SHARDS = 32  # Open files per modality; a shuffle reads from a few at a time.
_CACHED_SPANS = 16  # Of `SpanReader`, per modality: the blocks of two shuffles.

_log = logging.getLogger(__name__)


class ChipReader(Protocol):
    """Reads chips (bands, y, x) of one modality; safe for many threads."""

    def chip(self, row: int, scratch: NDArray[Any]) -> NDArray[Any]:
        """The stored values (bands, y, x) of a manifest row, in the stored dtype.

        `scratch` has their shape and dtype; the result is `scratch` or a view of a cached array. Do not write to it.
        Raises `Fatal` for a shard that is not finished or is damaged.
        """


def open_reader(corpus: Corpus, name: str, span_rows: int) -> ChipReader:
    """The fastest reader for a pixel-level modality; logs one sentence where that is not `ShardReader`.

    `span_rows` is the number of neighbouring rows that `SpanReader` reads at once.
    """
    with corpus.store.reading():
        array = zarr.open_array(corpus.store.zarr(read_only=True), path=name, mode="r")
    problem = obstacle(corpus, array)
    if problem is None:
        return ShardReader(corpus, name, _layout(corpus, array))
    _log.warning("%r %s; it is read through zarr-python, many times slower.", name, problem)
    return SpanReader(corpus, name, span_rows)


@dataclass(frozen=True)
class ChunkLayout:
    """How an array is cut and encoded; `chip` is the shape of an inner chunk without its first axis, whose length is 1.

    With `checksums`, a CRC-32C follows each of them.
    """

    shard_rows: int
    chip: tuple[int, ...]
    dtype: np.dtype[Any]
    fill: Any
    checksums: bool


def _layout(corpus: Corpus, array: zarr.Array[Any]) -> ChunkLayout:
    metadata: dict[str, Any] = array.metadata.to_dict()
    checksums = metadata["codecs"][0]["configuration"]["codecs"][-1]["name"] == "crc32c"
    return ChunkLayout(corpus.shard_rows, _chip(array), array.dtype, array.fill_value, checksums)


def obstacle(corpus: Corpus, array: zarr.Array[Any]) -> str | None:
    """Why `ShardReader` cannot read this array, as the end of a sentence; None when it can."""
    return next((text for test, text in _obstacles(corpus, array) if test), None)


def _obstacles(corpus: Corpus, array: zarr.Array[Any]) -> Iterable[tuple[bool, str]]:
    yield corpus.store.folder is None, "is in no local folder"
    # The content of `zarr.json`: the classes of zarr-python change from version to version.
    match array.metadata.to_dict().get("codecs"):
        case [{"name": "sharding_indexed", "configuration": dict() as sharding}]:
            expected = ((corpus.shard_rows, *_chip(array)), (1, *_chip(array)))
            yield (array.shards, array.chunks) != expected, "is not cut into shards of whole chips"
            yield sharding["index_location"] != "end", "has its shard index at the start"
            yield not _are(sharding["index_codecs"], "bytes", "crc32c"), "has a shard index of unknown codecs"
            yield not _are(_without_checksum(sharding["codecs"]), "bytes", "blosc"), "is not compressed by Blosc alone"
        case _:
            yield True, "is not sharded"


def _without_checksum(codecs: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    result = list(codecs)
    return result[:-1] if result[-1]["name"] == "crc32c" else result


def _chip(array: zarr.Array[Any]) -> tuple[int, ...]:
    shape: tuple[int, ...] = array.shape
    return shape[1:]


def _are(codecs: Iterable[Mapping[str, Any]], first: str, second: str) -> bool:
    """Whether there are two codecs: little-endian bytes, then one called `second`."""
    result = list(codecs)
    if [codec["name"] for codec in result] != [first, second]:
        return False
    return result[0].get("configuration", {}).get("endian", "little") == "little"


class ShardReader:
    """Decodes inner chunks from memory-mapped shard files; the index of an open shard stays in memory.

    A chip takes one call that sums up its bytes, and one call of Blosc, which releases the GIL.
    """

    def __init__(self, corpus: Corpus, name: str, layout: ChunkLayout) -> None:
        self._corpus, self._name, self._layout = corpus, name, layout
        self._opened = lru_cache(maxsize=_OPEN_SHARDS)(self._open)
        self._nbytes = int(np.prod(layout.chip)) * layout.dtype.itemsize

    def chip(self, row: int, scratch: NDArray[Any]) -> NDArray[Any]:
        """Decode into `scratch`; rows without an inner chunk or without a file are the fill value."""
        index, place = divmod(row, self._layout.shard_rows)
        shard = self._opened(index)
        try:
            frame = shard.frame(place, self._nbytes, self._layout.checksums) if shard else None
        except ValueError as error:
            raise self._damaged(index, f"row {row} {error}") from error
        if frame is None:
            scratch[...] = self._layout.fill
            return scratch
        try:
            blosc.decompress(frame, scratch)
        except RuntimeError as error:
            raise self._damaged(index, f"row {row} cannot be decoded") from error
        return scratch

    def _open(self, index: int) -> ShardObject | None:
        if index not in self._corpus.finished(self._name):
            raise self._unfinished(index)
        (mark,) = self._corpus.ledger.marks(self._name, [index])
        path = self._corpus.object_path(self._name, self._corpus.shards[index])
        try:
            shard = ShardObject.of(_mapped(path), self._layout.shard_rows)
        except FileNotFoundError as error:
            if mark.digest != ABSENT:
                raise self._unfinished(index) from error
            return None  # Zarr writes no object for a shard of nodata only.
        except ValueError as error:
            raise self._damaged(index, str(error)) from error
        self._refuse_other(mark, shard)
        return shard

    def _refuse_other(self, mark: Mark, shard: ShardObject) -> None:
        """Raise for an object that is not the one in the ledger; entries of older releases do not know its index."""
        if mark.digest == ABSENT:
            raise other_object(self._corpus.folder, self._name, mark.shard, "nothing should be stored")
        if mark.index_crc32c not in (None, shard.index_crc32c):
            raise other_object(self._corpus.folder, self._name, mark.shard, "its index is another one")

    def _unfinished(self, index: int) -> Fatal:
        return unfinished(self._corpus.folder, self._name, index)

    def _damaged(self, index: int, what: str) -> Fatal:
        return damaged(self._corpus.folder, self._name, index, what)


def _mapped(path: Path) -> NDArray[np.uint8]:
    """The bytes of a file, mapped into memory; raises `ValueError` for an empty one."""
    with path.open("rb") as stream:
        return np.frombuffer(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)


class SpanReader:
    """Reads `span_rows` neighbouring rows at a time through `Corpus.read`, from any store, and caches a few spans."""

    def __init__(self, corpus: Corpus, name: str, span_rows: int) -> None:
        self._corpus, self._name, self._span_rows = corpus, name, span_rows
        self._cached = lru_cache(maxsize=_CACHED_SPANS)(self._read)
        self._lock = threading.Lock()

    def chip(self, row: int, scratch: NDArray[Any]) -> NDArray[Any]:
        """A view of the cached span."""
        shard, index_in_shard = divmod(row, self._corpus.shard_rows)
        start = shard * self._corpus.shard_rows + index_in_shard // self._span_rows * self._span_rows
        with self._lock:  # Otherwise two threads would read the same span.
            return self._cached(start)[row - start]

    def _read(self, start: int) -> NDArray[Any]:
        shard = self._corpus.shards[start // self._corpus.shard_rows]
        return self._corpus.read(self._name, slice(start, min(start + self._span_rows, shard.stop)))
