"""Fields, blocks and streets: rectangles rotated by an angle that differs between districts.

Districts are cells of about 5 km in rows of latitude, with a whole number of cells per row and warped edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sandbox.planet.noise import hash_words

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U32 = NDArray[np.uint32]
Index = NDArray[np.intp]
T = TypeVar("T", bound=np.generic)

_DEGREE_M = 111_320.0
_ROW_DEG = 0.045
_LATS = (np.arange(4002) - 2000.5) * _ROW_DEG
_AROUND = np.maximum(np.floor(360 * np.cos(np.radians(np.clip(_LATS, -89.9, 89.9))) / _ROW_DEG), 3)
_METRES = np.round(_DEGREE_M * np.cos(np.radians(np.clip(_LATS, -89.99, 89.99))), 6)
_TURNS = np.linspace(0, np.pi / 2, 64, endpoint=False)
_COS, _SIN = np.cos(_TURNS), np.sin(_TURNS)
_WIDTH_M = np.array([420.0, 300.0, 210.0, 650.0, 160.0, 360.0, 820.0, 260.0])
_DEPTH_M = np.array([140.0, 190.0, 110.0, 400.0, 70.0, 230.0, 790.0, 130.0])
_BLOCK_M = (92.0, 68.0)


@dataclass(frozen=True)
class Plots:
    """Per pixel: the random byte and the random number in [0, 1) of its field, and whether it is on its edge."""

    byte: NDArray[np.uint8]
    chance: F32
    edge: NDArray[np.bool_]


@dataclass(frozen=True)
class Blocks:
    """Per pixel: the random number in [0, 1) of its town block, and whether it is on a street."""

    chance: F32
    street: NDArray[np.bool_]


class Parcels:
    """Parcels at longitudes and latitudes (height, width) in degrees; the warps (deviation 1) shift district edges.

    Plots and blocks are computed when they are first asked for: few windows need both.
    """

    def __init__(self, seed: int, lon: F64, lat: F64, warp_a: F32, warp_b: F32) -> None:
        row, rows = _numbered(np.clip(np.floor((lat + 0.009 * warp_a) / _ROW_DEG), -2001, 2000) + 2001)
        around, east = _AROUND[rows], lon + 180
        column, columns = _numbered(np.floor((east / 360 + 0.009 * warp_b / 360) * _of(around, row)))
        # First of each of the few districts here, then of each pixel by the number of its district.
        words = hash_words(seed, _wrapped(columns, around[:, None]).astype(np.int64), rows[:, None])
        district = None if words.size == 1 else np.asarray(row * columns.size + column)
        size, turn = (words >> np.uint32(8)) & np.uint32(7), words & np.uint32(63)
        cosine, sine = _of(_COS[turn], district), _of(_SIN[turn], district)
        east, north = _wrapped(east, 360.0) * _of(_METRES[rows], row), lat * _DEGREE_M
        self._word, self._width, self._depth = (
            _of(table, district) for table in (words, _WIDTH_M[size], _DEPTH_M[size])
        )
        self._along, self._across = east * cosine + north * sine, north * cosine - east * sine

    @cached_property
    def plots(self) -> Plots:
        j, v = _split(self._across, self._depth)
        i, u = _split(self._along + j * 0.37 * self._width, self._width)
        word = hash_words(5, i.astype(np.int32).view(np.uint32) ^ self._word, j.astype(np.int32))
        edge = (np.minimum(u, v) < 9.0).view(np.bool_)
        return Plots(word.astype(np.uint8), _chance(word), edge)

    @cached_property
    def blocks(self) -> Blocks:
        i, u = _split(self._along, np.float64(_BLOCK_M[0]))
        j, v = _split(self._across, np.float64(_BLOCK_M[1]))
        word = hash_words(6, i.astype(np.int32), j.astype(np.int32))
        return Blocks(_chance(word), (np.minimum(u, v) < 13.0).view(np.bool_))


def _numbered(values: F64) -> tuple[Index | int, NDArray[np.int64]]:
    """The number of each of the whole values, from the least on (0 if all are the same), and the values by number."""
    least, most = values.min(), values.max()
    return 0 if least == most else (values - least).astype(np.intp), np.arange(int(least), int(most) + 1)


def _of(table: NDArray[T], number: Index | int | None) -> NDArray[T]:
    """The table's values at each pixel, or the table itself, of one value, if all pixels have the same."""
    return table.take(number) if isinstance(number, np.ndarray) else table


def _chance(word: U32) -> F32:
    chance = (word >> np.uint32(8)).astype(np.float32)
    chance *= np.float32(1 / (1 << 24))
    return chance


def _wrapped(values: NDArray[Any], period: F64 | float) -> F64:
    """The values modulo `period`; numpy's remainder takes five times as long."""
    if values.min() >= 0 and values.max() < np.min(period):
        return values
    return np.asarray(values - period * np.floor(values / period))


def _split(metres: F64, size: F64 | np.float64) -> tuple[F64, F64]:
    """The index of the cell, and the offset in it in metres."""
    whole = metres / size
    np.floor(whole, out=whole)
    offset = whole * size
    return whole, np.subtract(metres, offset, out=offset)
