"""The compression of arrays: one choice, for the store and for estimates of its size; and the checksums behind it."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numcodecs import Blosc
from numpy.typing import NDArray
from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

_NAME: Literal["zstd"] = "zstd"
_LEVEL = 3
# Version 1 of the format ends with the compression. Blosc notices one damaged bit of ten, the others decode.
CHECKSUMS_SINCE = 2
FORMAT_VERSION = 3  # see `coordinates.PLACED_SINCE`


def compressor(dtype: str) -> BloscCodec:
    """The codec of an array's chunks: zstd at level 3 (higher levels gain little), shuffled above one byte a value."""
    size = np.dtype(dtype).itemsize
    return BloscCodec(cname=_NAME, clevel=_LEVEL, shuffle="shuffle" if size > 1 else "noshuffle", typesize=size)


def chip_codecs(dtype: str, format_version: int) -> tuple[BytesBytesCodec, ...]:
    """What happens to the bytes of a layer's chunks: compression, then a CRC-32C of what came out."""
    return (compressor(dtype), *_checksum(format_version))


def label_codecs(format_version: int) -> tuple[BytesBytesCodec, ...]:
    """The same for coordinates and names of bands, which are compressed as zarr-python does by itself."""
    return (ZstdCodec(level=0, checksum=False), *_checksum(format_version))


def _checksum(format_version: int) -> tuple[BytesBytesCodec, ...]:
    return (Crc32cCodec(),) if format_version >= CHECKSUMS_SINCE else ()


def compressed_bytes(block: NDArray[Any]) -> int:
    """How many bytes a chip's block (bands[, y, x]) in the stored dtype takes in the store, without its checksum."""
    shuffle = Blosc.SHUFFLE if block.dtype.itemsize > 1 else Blosc.NOSHUFFLE
    return len(Blosc(_NAME, _LEVEL, shuffle).encode(np.ascontiguousarray(block)))
