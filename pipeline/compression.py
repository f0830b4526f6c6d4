"""The compression of arrays: one choice, for the store and for estimates of its size."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numcodecs import Blosc
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

_NAME: Literal["zstd"] = "zstd"
_LEVEL = 3


def compressor(dtype: str) -> BloscCodec:
    """The codec of an array's chunks: zstd at level 3 (higher levels gain little), shuffled above one byte a value."""
    size = np.dtype(dtype).itemsize
    return BloscCodec(cname=_NAME, clevel=_LEVEL, shuffle="shuffle" if size > 1 else "noshuffle", typesize=size)


def compressed_bytes(block: NDArray[Any]) -> int:
    """How many bytes a chip's block (bands[, y, x]) in the stored dtype takes in the store."""
    shuffle = Blosc.SHUFFLE if block.dtype.itemsize > 1 else Blosc.NOSHUFFLE
    return len(Blosc(_NAME, _LEVEL, shuffle).encode(np.ascontiguousarray(block)))
