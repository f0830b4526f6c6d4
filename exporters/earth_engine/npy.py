"""Arrays from the NPY bodies of Earth Engine's replies; equal headers are parsed once.

A body is believed only as far as it agrees with the request: nothing is allocated from what its header says.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from pipeline.errors import Transient

_MOST_HEADER_BYTES = 131_072  # a thousand bands, as many as a request may have, take about 40,000
_LENGTH_BYTES = {1: 2, 2: 4, 3: 4}  # of the number that says how long the header is, by version
_ENCODINGS = {1: "latin1", 2: "latin1", 3: "utf-8"}
_BAND_KINDS = "iuf"  # integers and real numbers: what Earth Engine has


def decoded(content: bytes, shape_yx: tuple[int, int]) -> NDArray[Any]:
    """The structured array of an NPY body: `shape_yx`, one field per band in the service's dtype, read-only.

    It is a view of `content`. Raises `Transient` for a body that is no NPY, of another shape, with bands that are no
    numbers, or that is shorter or longer than its header says: it was damaged on the way.
    """
    try:
        start = _header_end(content)
        shape, fortran_order, dtype = _header(content[:start])
    except (ValueError, TypeError, KeyError, IndexError, SyntaxError, RecursionError, MemoryError) as error:
        raise Transient(f"the pixels arrived damaged ({len(content)} bytes).") from error
    if shape != tuple(shape_yx) or not _holds_bands(dtype):
        raise Transient(f"the pixels arrived as {str(dtype)[:80]} {shape} in place of bands of {shape_yx}.")
    expected = start + shape_yx[0] * shape_yx[1] * dtype.itemsize
    if len(content) != expected:
        raise Transient(f"the pixels arrived damaged ({len(content)} bytes in place of {expected}).")
    return np.frombuffer(content, dtype, offset=start).reshape(shape_yx, order="F" if fortran_order else "C")


def _header_end(content: bytes) -> int:
    """Where the pixels begin; raises `ValueError` for a body that is no NPY or ends before."""
    major, _minor = content[npy.MAGIC_LEN - 2 : npy.MAGIC_LEN]
    if content[: npy.MAGIC_LEN] != npy.magic(major, 0):
        raise ValueError("no NPY")
    start = npy.MAGIC_LEN + _LENGTH_BYTES[major]
    length = int.from_bytes(content[npy.MAGIC_LEN : start], "little")
    if length > min(_MOST_HEADER_BYTES, len(content) - start):
        raise ValueError("the header is too long")
    return start + length


@lru_cache(maxsize=256)
def _header(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and dtype, cached: parsing them takes as long as copying the pixels of a chip."""
    major = head[npy.MAGIC_LEN - 2]
    text = head[npy.MAGIC_LEN + _LENGTH_BYTES[major] :].decode(_ENCODINGS[major])
    described = ast.literal_eval(text.strip())
    shape = tuple(described["shape"])
    return shape, bool(described["fortran_order"]), npy.descr_to_dtype(described["descr"])


def _holds_bands(dtype: np.dtype[Any]) -> bool:
    """Whether it is a record of numbers, one after the other: no objects, no arrays, no padding."""
    bands = [dtype[name] for name in dtype.names or ()]
    packed = dtype.itemsize == sum(band.itemsize for band in bands)
    return bool(bands) and packed and all(band.kind in _BAND_KINDS for band in bands)
