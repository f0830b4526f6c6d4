"""Arrays from the NPY bodies of Earth Engine's replies; equal headers are parsed once."""

from __future__ import annotations

import io
import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from pipeline.errors import Transient

_PREFIX_BYTES = 10  # of version 1: magic, version, and the length of the header
_HEADER_BYTES = 65_536 + _PREFIX_BYTES  # the most that version 1 can have; a thousand bands take about 40,000


def decoded(content: bytes, shape_yx: tuple[int, int]) -> NDArray[Any]:
    """The structured array of an NPY body: `shape_yx`, one field per band in the service's dtype, read-only.

    Raises `Transient` for a body that is truncated, no NPY, or of another shape: it was damaged on the way.
    """
    try:
        array = _array(content)
    except (ValueError, EOFError, OSError, SyntaxError) as error:
        raise Transient(f"the pixels arrived damaged ({len(content)} bytes).") from error
    if array.dtype.names is None or array.shape != tuple(shape_yx):
        raise Transient(f"the pixels arrived as {array.dtype} {array.shape} in place of bands of {shape_yx}.")
    return array


def _array(content: bytes) -> NDArray[Any]:
    if content[: npy.MAGIC_LEN] != npy.magic(1, 0):
        array: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False, max_header_size=_HEADER_BYTES)
        return array
    start = _PREFIX_BYTES + int.from_bytes(content[npy.MAGIC_LEN : _PREFIX_BYTES], "little")
    shape, fortran_order, dtype = _header(content[:start])
    if dtype.hasobject:
        raise ValueError("an array of objects")
    flat = np.frombuffer(content, dtype, math.prod(shape), start)
    return flat.reshape(shape, order="F" if fortran_order else "C")


@lru_cache(maxsize=256)
def _header(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and dtype, cached: parsing them takes as long as copying the pixels of a chip."""
    stream = io.BytesIO(head)
    npy.read_magic(stream)
    shape, fortran_order, dtype = npy.read_array_header_1_0(stream, max_header_size=_HEADER_BYTES)
    return shape, fortran_order, dtype
