"""One shard of an array as the object that Zarr v3 keeps for it: whole chips, and where each of them begins.

zarr-python makes the same bytes, but passes every chip through its event loop and a thread of its own: for chips of
128 pixels that takes as long as compressing them (`python -m benchmarks.pull --parts`). So arrays that are cut as ours
are get encoded here, and any other through zarr-python.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import google_crc32c
import numpy as np
import zarr
from numcodecs import Blosc
from numpy.typing import NDArray
from zarr.buffer.cpu import Buffer
from zarr.storage import MemoryStore

from pipeline.shard import Shard
from pipeline.store import METADATA

# Offset and length of a chip that is all nodata, and so has no bytes (Zarr v3, sharding_indexed).
EMPTY = 2**64 - 1
PAIR_BYTES, CRC_BYTES = 16, 4
_SHUFFLES = {"noshuffle": Blosc.NOSHUFFLE, "shuffle": Blosc.SHUFFLE, "bitshuffle": Blosc.BITSHUFFLE}


def encoded(metadata: bytes, shard: Shard, block: NDArray[Any], fill: np.generic) -> memoryview | None:
    """The object of a shard's values (rows, bands[, y, x]); None where all is nodata, for then there is none.

    `metadata` is the array's `zarr.json` and `fill` its fill value. The bytes are those that zarr-python would store.
    """
    plain = json.loads(metadata)
    codec = _codec_of_chips(plain)
    if codec is None:
        return by_zarr(metadata, shard, block)
    rows = plain["chunk_grid"]["configuration"]["chunk_shape"][0]
    return _joined(_chips(codec, block, fill), rows)


def _codec_of_chips(metadata: Mapping[str, Any]) -> Blosc | None:
    """How each chip is compressed; None for an array that is not cut into shards of whole, compressed chips."""
    match metadata["codecs"]:
        case [{"name": "sharding_indexed", "configuration": sharding}]:
            pass
        case _:
            return None
    whole = [1, *metadata["chunk_grid"]["configuration"]["chunk_shape"][1:]]
    match sharding:
        case {
            "chunk_shape": cut,
            "index_location": "end",
            "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
            "codecs": [{"name": "bytes"} as order, {"name": "blosc", "configuration": blosc}],
        } if cut == whole and order.get("configuration", {}).get("endian", "little") == "little":
            shuffle = _SHUFFLES[blosc["shuffle"]]
            return Blosc(blosc["cname"], blosc["clevel"], shuffle, blosc["blocksize"], blosc["typesize"])
    return None


def _chips(codec: Blosc, block: NDArray[Any], fill: np.generic) -> Iterator[bytes]:
    """Every chip compressed; nothing for one that is all nodata."""
    little = np.ascontiguousarray(block, block.dtype.newbyteorder("<"))
    for chip in little:
        # Compressed as bytes: the type's size is the codec's own matter.
        yield b"" if _is_all(chip, fill) else codec.encode(chip.reshape(-1).view(np.uint8))


def _is_all(chip: NDArray[Any], fill: np.generic) -> bool:
    """Whether a chip is nodata throughout; one look suffices for most. Minus zero is not zero, as to zarr-python."""
    if math.isnan(fill):
        return bool(np.isnan(chip.flat[0]) and np.isnan(chip).all())
    if fill == 0 and chip.dtype.kind == "f":
        return not chip.view(np.uint8).any()
    return bool(chip.flat[0] == fill and (chip == fill).all())


def _joined(chips: Iterator[bytes], rows: int) -> memoryview | None:
    """The chips one behind another, then the index of `rows` places and its checksum."""
    parts, start = [], 0
    index = np.full((rows, 2), EMPTY, dtype="<u8")
    for row, chip in enumerate(chips):
        if chip:
            index[row] = start, len(chip)
            parts.append(chip)
            start += len(chip)
    if not parts:
        return None
    pairs = index.tobytes()
    return memoryview(b"".join([*parts, pairs, google_crc32c.value(pairs).to_bytes(CRC_BYTES, "little")]))


def by_zarr(metadata: bytes, shard: Shard, block: NDArray[Any]) -> memoryview | None:
    """The same object, made by zarr-python, for an array of any layout that has one object a shard."""
    objects: dict[str, Any] = {METADATA: Buffer.from_bytes(metadata)}
    zarr.open_array(MemoryStore(objects), mode="r+")[shard.slice] = block
    made = [content for key, content in objects.items() if key != METADATA]
    return memoryview(made[0].as_buffer_like()) if made else None
