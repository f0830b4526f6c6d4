"""The Zarr v3 object of one shard of an array: whole compressed chips, and an index of where each of them begins.

zarr-python makes the same bytes, but passes every chip through its event loop and a thread of its own. For chips of
128 pixels that takes as long as the compression. It is used only for arrays with other chunks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
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
from pipeline.store import METADATA

# Offset and length of a chip that is all nodata, and so has no bytes (Zarr v3, sharding_indexed).
EMPTY = 2**64 - 1
PAIR_BYTES, CRC_BYTES = 16, 4
blosc.use_threads = False  # several threads would write a chip's blocks in the order in which they finish
_SHUFFLES = {"noshuffle": Blosc.NOSHUFFLE, "shuffle": Blosc.SHUFFLE, "bitshuffle": Blosc.BITSHUFFLE}


@dataclass(frozen=True)
class ChipCodec:
    """The codec of single chips: little-endian and compressed; a chip that is all `fill` has no bytes."""

    blosc: Blosc
    fill: np.generic
    shard_rows: int

    def compressed(self, chip: NDArray[Any]) -> bytes:
        """The bytes of a chip (bands, y, x) in the stored dtype, as zarr-python stores them; none if all is nodata."""
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
        parts, start = [], 0
        index = np.full((self.shard_rows, 2), EMPTY, dtype="<u8")
        for row, chip in enumerate(chips):
            if chip:
                index[row] = start, len(chip)
                parts.append(chip)
                start += len(chip)
        pairs = index.tobytes()
        return [*parts, pairs, google_crc32c.value(pairs).to_bytes(CRC_BYTES, "little")] if parts else []


def codec_of(metadata: bytes, fill: np.generic) -> ChipCodec | None:
    """The codec in `metadata`, an array's `zarr.json`; None unless its shards hold whole chips, compressed by Blosc.

    `fill` is the array's fill value.
    """
    data = json.loads(metadata)
    match data["codecs"]:
        case [{"name": "sharding_indexed", "configuration": sharding}]:
            shape = data["chunk_grid"]["configuration"]["chunk_shape"]
            blosc = _blosc_of(sharding) if sharding["chunk_shape"] == [1, *shape[1:]] else None
            return ChipCodec(blosc, fill, shape[0]) if blosc else None
    return None


def _blosc_of(sharding: Mapping[str, Any]) -> Blosc | None:
    match sharding:
        case {
            "index_location": "end",
            "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
            "codecs": [{"name": "bytes"} as order, {"name": "blosc", "configuration": blosc}],
        } if order.get("configuration", {}).get("endian", "little") == "little":
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
