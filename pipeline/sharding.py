"""One shard of an array as the object that Zarr v3 keeps for it: whole chips, and where each of them begins.

zarr-python makes the same bytes, but passes every chip through its event loop and a thread of its own: for chips of
128 pixels that takes as long as compressing them. So it only makes the objects of arrays that are cut in another way.
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
blosc.use_threads = False  # several would put a chip's blocks into the order in which they end
_SHUFFLES = {"noshuffle": Blosc.NOSHUFFLE, "shuffle": Blosc.SHUFFLE, "bitshuffle": Blosc.BITSHUFFLE}


@dataclass(frozen=True)
class ChipCodec:
    """How an array keeps each chip: little-endian and compressed, or not at all where all of it is `fill`."""

    blosc: Blosc
    fill: np.generic
    shard_rows: int

    def compressed(self, chip: NDArray[Any]) -> bytes:
        """The bytes of one chip (bands, y, x), as zarr-python would store them; none where all is nodata."""
        little = np.ascontiguousarray(chip, chip.dtype.newbyteorder("<"))
        # Compressed as bytes: the type's size is the codec's own matter.
        return b"" if self._is_nodata(little) else bytes(self.blosc.encode(little.reshape(-1).view(np.uint8)))

    def _is_nodata(self, chip: NDArray[Any]) -> bool:
        """One look suffices for most. Minus zero is not zero, as to zarr-python."""
        if math.isnan(self.fill):
            return bool(np.isnan(chip.flat[0]) and np.isnan(chip).all())
        if self.fill == 0 and chip.dtype.kind == "f":
            return not chip.view(np.uint8).any()
        return bool(chip.flat[0] == self.fill and (chip == self.fill).all())

    def joined(self, chips: Iterable[bytes]) -> list[bytes]:
        """A shard's object, in parts: its chips one behind another, and their index; nothing where none has bytes."""
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
    """What `metadata`, an array's `zarr.json`, says of its chips; None unless it has shards of whole, compressed ones.

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
    """The object of a shard's values (rows, bands[, y, x]), made by zarr-python: any layout of one object a shard."""
    objects: dict[str, Any] = {METADATA: Buffer.from_bytes(metadata)}
    zarr.open_array(MemoryStore(objects), mode="r+")[shard.slice] = block
    return [content.to_bytes() for key, content in objects.items() if key != METADATA]
