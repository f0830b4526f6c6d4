"""Shard objects made here are zarr-python's, byte for byte, whatever the layout, the type and what is nodata."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from zarr.buffer.cpu import Buffer
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, TransposeCodec
from zarr.storage import MemoryStore

from pipeline import sharding
from pipeline.compression import CHECKSUMS_SINCE, FORMAT_VERSION, chip_codecs
from pipeline.shard import Shard

TYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]
ROWS, SHARD_ROWS = 10, 4
SHARDS = (Shard(0, 0, 4), Shard(1, 4, 8), Shard(2, 8, 10))


def metadata_of(dtype: str, fill: Any, shape: tuple[int, ...] = (2, 6, 5), **changes: Any) -> bytes:
    objects: dict[str, Any] = {}
    layout: dict[str, Any] = {
        "chunks": (1, *shape), "shards": (SHARD_ROWS, *shape),
        "compressors": BloscCodec(cname="zstd", clevel=3, shuffle="shuffle", typesize=np.dtype(dtype).itemsize),
    }  # fmt: skip
    zarr.create_array(MemoryStore(objects), shape=(ROWS, *shape), dtype=dtype, fill_value=fill, **{**layout, **changes})
    return bytes(objects["zarr.json"].to_bytes())


@st.composite
def blocks(draw: st.DrawFn) -> tuple[NDArray[Any], np.generic, Shard]:
    dtype, shard = np.dtype(draw(st.sampled_from(TYPES))), draw(st.sampled_from(SHARDS))
    nodata = [0.0, 1.0, *([float("nan"), -9999.0] if dtype.kind == "f" else [])]
    fill = dtype.type(draw(st.sampled_from(nodata)))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    block = random.integers(0, 100, (len(shard), 2, 6, 5)).astype(dtype)
    for row in range(len(shard)):
        kind = draw(st.sampled_from(["data", "nodata", "almost", "nearly zero"]))
        if kind != "data":
            block[row] = fill
        if kind == "almost":
            block[row, -1, -1, -1] = 7
        if kind == "nearly zero" and dtype.kind == "f":
            block[row] = -0.0
    return block, fill, shard


@given(blocks(), st.sampled_from(range(1, FORMAT_VERSION + 1)))
@settings(max_examples=150, deadline=None)
def test_the_object_is_that_of_zarr_python(drawn: tuple[NDArray[Any], np.generic, Shard], version: int) -> None:
    block, fill, shard = drawn
    metadata = metadata_of(block.dtype.name, fill, compressors=chip_codecs(block.dtype.name, version))
    codec = sharding.codec_of(metadata, fill)
    assert codec is not None and codec.checksums == (version >= CHECKSUMS_SINCE)
    ours = codec.joined([codec.compressed(chip) for chip in block])
    assert b"".join(ours) == b"".join(sharding.by_zarr(metadata, shard, block))


@pytest.mark.parametrize("seen", [lambda chip: chip[::-1], lambda chip: chip.T, lambda chip: chip.astype(">i2")])
def test_any_order_in_memory_gives_the_same_bytes(seen: Any) -> None:
    view = seen(np.random.default_rng(0).integers(0, 9, (2, 6, 5)).astype("int16"))
    codec = sharding.codec_of(metadata_of("int16", np.int16(0)), np.int16(0))
    assert codec is not None
    assert codec.compressed(view) == codec.compressed(np.ascontiguousarray(view.astype("<i2")))


@pytest.mark.parametrize(
    "changes",
    [
        {"compressors": GzipCodec()},
        {"compressors": None},
        {"compressors": [BloscCodec(), Crc32cCodec(), Crc32cCodec()]},
        {"compressors": [Crc32cCodec(), BloscCodec()]},
        {"chunks": (2, 2, 6, 5)},
        {"chunks": (1, 1, 6, 5)},
        {"chunks": (4, 2, 6, 5), "shards": None},
        {"filters": [TransposeCodec(order=(0, 3, 2, 1))]},
        {"serializer": BytesCodec(endian="big")},
    ],
)
def test_an_array_of_another_layout_is_left_to_zarr_python(changes: dict[str, Any]) -> None:
    metadata = metadata_of("int16", np.int16(0), **changes)
    block = np.random.default_rng(0).integers(0, 9, (4, 2, 6, 5)).astype("int16")
    assert sharding.codec_of(metadata, np.int16(0)) is None
    (made,) = sharding.by_zarr(metadata, SHARDS[0], block)
    objects: dict[str, Any] = {"zarr.json": Buffer.from_bytes(metadata), "c/0/0/0/0": Buffer.from_bytes(made)}
    assert np.array_equal(zarr.open_array(MemoryStore(objects), mode="r")[:4], block)
