"""The Zarr v3 object of one shard of an array: whole compressed chips with their checksums, and an index of them.

zarr-python makes the same bytes, but passes every chip through its event loop and a thread of its own. For chips of
128 pixels that takes as long as the compression. It is used only for arrays with other chunks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
import zarr
from numcodecs import Blosc, blosc
from numpy.typing import NDArray
from zarr.buffer.cpu import Buffer
from zarr.storage import MemoryStore

from pipeline.shard import Shard
from pipeline.shard_object import CRC_BYTES, EMPTY, index_crc32c
from pipeline.store import METADATA

blosc.use_threads = False  # several threads would write a chip's blocks in the order in which they finish
_CHECKSUM = [{"name": "crc32c"}]  # the end of the codecs of a chip, from version 2 of the format on
_SHUFFLES = {"noshuffle": Blosc.NOSHUFFLE, "shuffle": Blosc.SHUFFLE, "bitshuffle": Blosc.BITSHUFFLE}


@dataclass(frozen=True)
class ChipCodec:
    """The codec of single chips: little-endian and compressed; a chip that is all `fill` has no bytes.

    With `checksums` (the format from version 2 on) every chip is followed by its CRC-32C. It is added where a shard is
    joined, so that chips that were compressed for one format fit the other.
    """

    blosc: Blosc
    fill: np.generic
    shard_rows: int
    checksums: bool

    def compressed(self, chip: NDArray[Any]) -> bytes:
        """A chip (bands, y, x) in the stored dtype as Blosc compresses it; no bytes if all is nodata."""
        little = np.ascontiguousarray(chip, chip.dtype.newbyteorder("<"))
        # Passed as bytes: the codec has its own setting for the size of a value.
        return b"" if self._is_nodata(little) else bytes(self.blosc.encode(little.reshape(-1).view(np.uint8)))

    def _is_nodata(self, chip: NDArray[Any]) -> bool:
        """Whether all values are `fill`; for most chips the first value decides. Minus zero is not zero, as in zarr."""
        if math.isnan(self.fill):
            return bool(np.isnan(chip.flat[0]) and np.isnan(chip).all())
        if self.fill == 0 and chip.dtype.kind == "f":
            return not chip.view(np.uint8).any()
        return bool(chip.flat[0] == self.fill and (chip == self.fill).all())

    def joined(self, chips: Iterable[bytes]) -> list[bytes]:
        """A shard's object, in parts: its chips one after another, then their index; no parts if no chip has bytes."""
        parts, start = list[bytes](), 0
        index = np.full((self.shard_rows, 2), EMPTY, dtype="<u8")
        for row, chip in enumerate(chips):
            if chip:
                stored = [chip, crc32c(chip)] if self.checksums else [chip]
                index[row] = start, sum(map(len, stored))
                parts += stored
                start += int(index[row, 1])
        pairs = index.tobytes()
        return [*parts, pairs, crc32c(pairs)] if parts else []

    def index_crc32c(self, parts: Sequence[bytes]) -> str | None:
        """The checksum by which the ledger knows an object in such parts; None for no object."""
        return index_crc32c(b"".join(parts[-3:]), self.shard_rows) if parts else None


def crc32c(content: bytes) -> bytes:
    """The CRC-32C as Zarr's codec stores it."""
    return int(google_crc32c.value(content)).to_bytes(CRC_BYTES, "little")


def codec_of(metadata: bytes, fill: np.generic) -> ChipCodec | None:
    """The codec in `metadata`, an array's `zarr.json`; None unless its shards hold whole chips, compressed by Blosc.

    Behind Blosc there may be a checksum, and nothing else. `fill` is the array's fill value.
    """
    data = json.loads(metadata)
    match data["codecs"]:
        case [{"name": "sharding_indexed", "configuration": sharding}]:
            shape = data["chunk_grid"]["configuration"]["chunk_shape"]
            blosc = _blosc_of(sharding) if sharding["chunk_shape"] == [1, *shape[1:]] else None
            return ChipCodec(blosc, fill, shape[0], sharding["codecs"][2:] == _CHECKSUM) if blosc else None
    return None


def _blosc_of(sharding: Mapping[str, Any]) -> Blosc | None:
    match sharding:
        case {
            "index_location": "end",
            "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
            "codecs": [{"name": "bytes"} as order, {"name": "blosc", "configuration": blosc}, *rest],
        } if order.get("configuration", {}).get("endian", "little") == "little" and rest in ([], _CHECKSUM):
            shuffle = _SHUFFLES[blosc["shuffle"]]
            return Blosc(blosc["cname"], blosc["clevel"], shuffle, blosc["blocksize"], blosc["typesize"])
    return None


def by_zarr(metadata: bytes, shard: Shard, block: NDArray[Any]) -> list[bytes]:
    """A shard's object, in parts, made by zarr-python, for any layout with one object per shard.

    `block` is (rows, bands[, y, x]) in the stored dtype.
    """
    objects: dict[str, Any] = {METADATA: Buffer.from_bytes(metadata)}
    zarr.open_array(MemoryStore(objects), mode="r+")[shard.slice] = block
    return [content.to_bytes() for key, content in objects.items() if key != METADATA]
