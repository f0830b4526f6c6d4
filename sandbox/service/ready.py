"""Ready chips: requests for pixels of a kind seen before are answered from a pool, so that the client is measured."""

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
# What differs between two chips of one kind: numbers, asset ids and places. Names of bands and algorithms stay.
_VARYING = re.compile(
    rb'"(?:constantValue|translateX|translateY|crsCode)":\s*(?:[-+\[\]\d., eE]+|"[^"]*/[^"]*"|"EPSG:\d+")'
)


def kind_of(request: bytes) -> bytes:
    """Names what a request asks for, whichever place and scene it asks it of: bands, types and size of its answer."""
    return hashlib.blake2b(_VARYING.sub(_shape, request), digest_size=16).digest()


def _shape(varying: re.Match[bytes]) -> bytes:
    """Nothing of a value but how many numbers it lists: a constant image has a band for each."""
    return b"," * varying[0].count(b",")


class ReadyPool:
    """NPY bodies by kind and variant; safe for many threads.

    The variant follows from the grid alone, so that a place gets the same pixels however often and in whatever parts
    it is asked for. A band of a variant is what the first request for it was given, for as long as the pool lives.
    """

    def __init__(self, variants: int = VARIANTS) -> None:
        self._variants = variants
        self._bodies: dict[tuple[bytes, int], bytes] = {}
        self._bands: dict[tuple[str, str, tuple[int, ...], int], NDArray[Any]] = {}
        self._lock = threading.Lock()

    def find(self, request: bytes, grid: Mapping[str, Any]) -> bytes | None:
        """The answer to a request as it was sent, if the pool has one."""
        return self._bodies.get(self._key(request, grid))

    def keep(self, request: bytes, grid: Mapping[str, Any], computed: bytes) -> bytes:
        """Remember an answer, an NPY file, for all requests of its kind; returns it with the bands that were known."""
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
