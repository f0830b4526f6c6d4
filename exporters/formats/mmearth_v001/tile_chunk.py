"""One tile of a dataset as HDF5's own filters would store it: bytes shuffled, then deflated, in any thread.

h5py compresses in one thread at a time. Chunks that come compressed are only written down, and every reader of HDF5
takes them for what they are.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

GZIP_LEVEL = 4  # h5py's default, which the published converter leaves


def filters(dtype: np.dtype[Any]) -> dict[str, Any]:
    """What `create_dataset` is told, so that readers undo what `compressed` does."""
    return {"compression": "gzip", "compression_opts": GZIP_LEVEL, "shuffle": _is_shuffled(dtype)}


def compressed(values: NDArray[Any]) -> bytes:
    """The chunk of values of any shape, in the filters that `filters` names for their dtype."""
    content = np.ascontiguousarray(values).reshape(-1)
    if _is_shuffled(content.dtype):
        content = np.ascontiguousarray(content.view(np.uint8).reshape(-1, content.dtype.itemsize).T)
    return zlib.compress(content.data, GZIP_LEVEL)


def _is_shuffled(dtype: np.dtype[Any]) -> bool:
    """Integers of several bytes: their high bytes, one after another, shrink by more, and faster.

    Not floats: hundredths of a decibel repeat as whole numbers of four bytes, which shrink by more as they are.
    """
    return dtype.kind in "iu" and dtype.itemsize > 1
