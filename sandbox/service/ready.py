"""Ready chips: pixel requests of a known kind get a pooled reply, so that a benchmark measures only the client."""

from __future__ import annotations

import hashlib
import io
import marshal
import re
import threading
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

VARIANTS = 16
# What may differ between two requests of one kind: numbers, asset ids and locations; not band or algorithm names.
_VARYING = re.compile(
    rb'"(?:constantValue|translateX|translateY|crsCode)":\s*(?:[-+\[\]\d., eE]+|"[^"]*/[^"]*"|"EPSG:\d+")'
)


def kind_of(request: bytes) -> bytes:
    """A hash of the bands, types and size that a request asks for, without its location and its scene."""
    return hashlib.blake2b(_VARYING.sub(_shape, request), digest_size=16).digest()


def _shape(varying: re.Match[bytes]) -> bytes:
    """Only the count of numbers in a value: a constant image has one band for each."""
    return b"," * varying[0].count(b",")


class ReadyPool:
    """NPY bodies by kind and variant; safe for many threads.

    The variant depends on the grid alone, so repeated and partial requests for one location get the same pixels.
    Each band of a variant has the pixels of the first request for it, for the lifetime of the pool.
    """

    def __init__(self, variants: int = VARIANTS) -> None:
        self._variants = variants
        self._bodies: dict[tuple[bytes, int], bytes] = {}
        self._bands: dict[tuple[str, str, tuple[int, ...], int], NDArray[Any]] = {}
        self._lock = threading.Lock()

    def find(self, request: bytes, grid: Mapping[str, Any]) -> bytes | None:
        """The NPY body for a request (its body as sent), or None when the pool has none."""
        return self._bodies.get(self._key(request, grid))

    def keep(self, request: bytes, grid: Mapping[str, Any], computed: bytes) -> bytes:
        """Store an NPY body for all requests of its kind; returns it with the bands that the pool already had."""
        key = self._key(request, grid)
        array = np.load(io.BytesIO(computed))
        with self._lock:
            for name in array.dtype.names or ():
                band = array[name]
                array[name] = self._bands.setdefault((name, band.dtype.str, band.shape, key[1]), band.copy())
            buffer = io.BytesIO()
            np.save(buffer, array)
            return self._bodies.setdefault(key, buffer.getvalue())

    def _key(self, request: bytes, grid: Mapping[str, Any]) -> tuple[bytes, int]:
        return kind_of(request), zlib.crc32(marshal.dumps(dict(grid), 2)) % self._variants
