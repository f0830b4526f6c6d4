"""Fields, blocks and streets: rectangles rotated by an angle that differs between districts.

Districts are cells of about 5 km in rows of latitude, with a whole number of cells per row and warped edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sandbox.planet.noise import hash_words

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
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
class Parcels:
    """Per pixel: the random byte and the random number in [0, 1) of its field, whether it is on the field's edge,
    the random number of its town block, and whether it is on a street."""

    byte: NDArray[np.uint8]
    chance: F32
    edge: NDArray[np.bool_]
    block: F32
    street: NDArray[np.bool_]


def parcels_of(seed: int, lon: F64, lat: F64, warp_a: F32, warp_b: F32) -> Parcels:
    """Parcels at longitudes and latitudes (height, width) in degrees; the warps (deviation 1) shift district edges."""
    row = _single_if_uniform(np.clip(np.floor((lat + 0.009 * warp_a) / _ROW_DEG).astype(np.int64) + 2001, 0, 4001))
    metres, around = _METRES.take(row), _AROUND.take(row)
    whole = _wrapped(np.floor(((lon + 180) / 360 + 0.009 * warp_b / 360) * around), around)
    district = _single_if_uniform(hash_words(seed, whole.astype(np.int64), row))
    direction = district & np.uint32(63)
    east, north = _wrapped(lon + 180, 360.0) * metres, lat * _DEGREE_M
    along = east * _COS.take(direction) + north * _SIN.take(direction)
    across = north * _COS.take(direction) - east * _SIN.take(direction)
    return _cells(along, across, district)


def _cells(along: F64, across: F64, district: NDArray[np.uint32]) -> Parcels:
    size = (district >> np.uint32(8)) & np.uint32(7)
    width, depth = _WIDTH_M.take(size), _DEPTH_M.take(size)
    j, v = _split(across, depth)
    i, u = _split(along + j * 0.37 * width, width)
    word = hash_words(5, i.astype(np.int64) ^ district.astype(np.int64), j.astype(np.int64))
    edge = (np.minimum(u, v) < 9.0).view(np.bool_)
    bi, bu = _split(along, np.float64(_BLOCK_M[0]))
    bj, bv = _split(across, np.float64(_BLOCK_M[1]))
    block = hash_words(6, bi.astype(np.int64), bj.astype(np.int64))
    return Parcels(
        byte=(word & np.uint32(255)).astype(np.uint8),
        chance=(word >> np.uint32(8)).astype(np.float32) * np.float32(1 / (1 << 24)),
        edge=edge,
        block=(block >> np.uint32(8)).astype(np.float32) * np.float32(1 / (1 << 24)),
        street=(np.minimum(bu, bv) < 13.0).view(np.bool_),
    )


def _single_if_uniform(values: NDArray[T]) -> NDArray[T]:
    """A (1, 1) array if all values are equal, as in one district, so that later operations are computed once."""
    return values[:1, :1] if (values == values[0, 0]).all() else values


def _wrapped(values: F64, period: F64 | float) -> F64:
    """The values modulo `period`; numpy's remainder takes five times as long."""
    return np.asarray(values - period * np.floor(values / period))


def _split(metres: F64, size: F64 | np.float64) -> tuple[F64, F64]:
    """The index of the cell, and the offset in it in metres."""
    whole = np.floor(metres / size)
    return whole, metres - whole * size
