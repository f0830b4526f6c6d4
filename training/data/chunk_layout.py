"""How an array of pixels is cut and encoded, and why our own readers leave one that is cut otherwise to zarr-python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr

from pipeline.corpus import Corpus


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

    @classmethod
    def of(cls, corpus: Corpus, array: zarr.Array[Any]) -> ChunkLayout:
        """The layout of an array without an `obstacle`."""
        metadata: dict[str, Any] = array.metadata.to_dict()
        checksums = metadata["codecs"][0]["configuration"]["codecs"][-1]["name"] == "crc32c"
        return cls(corpus.shard_rows, _chip(array), array.dtype, array.fill_value, checksums)

    @property
    def nbytes(self) -> int:
        """The size of a decoded chip."""
        return int(np.prod(self.chip)) * self.dtype.itemsize


def obstacle(corpus: Corpus, array: zarr.Array[Any]) -> str | None:
    """Why our readers cannot read this array, as the end of a sentence; None when they can."""
    return next((text for test, text in _obstacles(corpus, array) if test), None)


def _obstacles(corpus: Corpus, array: zarr.Array[Any]) -> Iterable[tuple[bool, str]]:
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
