"""Seeded randomness of the planet: integer hashes, smooth 3-D noise and a fine 3-D texture.

All noise is a function of Earth-centred coordinates, so it has no seam at the antimeridian or the poles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]

_MASK = (1 << 64) - 1
_CELLS = 64
_ROW = _CELLS + 1
_FINE, _VOXEL_M = 128, 9.0
# A fixed rotation, so that the lattice planes of the noise do not coincide with the equator and the meridians.
_ROTATION = np.linalg.qr(np.random.default_rng(20170623).normal(size=(3, 3)))[0]


def hash_int(*keys: int) -> int:
    """A 64-bit hash of integers (splitmix64; Steele et al. 2014)."""
    state = 0x9E3779B97F4A7C15
    for key in keys:
        state = (state ^ (key & _MASK)) + 0x9E3779B97F4A7C15 & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


def hash_unit(*keys: int) -> float:
    """A number in [0, 1) that depends on the keys alone."""
    return (hash_int(*keys) >> 11) / float(1 << 53)


def hash_units(seed: int, keys: NDArray[Any]) -> F64:
    """Numbers in [0, 1), float64, one for each integer of `keys` (any shape)."""
    state = keys.astype(np.int64).view(np.uint64) ^ np.uint64(hash_int(seed))
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(((state ^ (state >> np.uint64(31))) >> np.uint64(11)) * (1.0 / (1 << 53)))


def hash_words(seed: int, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.uint32]:
    """32 random bits (uint32) for each pair of integers (broadcast); fast, not cryptographic."""
    word = x.astype(np.uint32) * np.uint32(0x9E3779B1) ^ y.astype(np.uint32) * np.uint32(0x85EBCA77)
    word ^= np.uint32(hash_int(seed) & 0xFFFFFFFF)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        word ^= word >> np.uint32(shift)
        word *= np.uint32(factor)
    word ^= word >> np.uint32(16)
    return word


def _fine_texture(rng: np.random.Generator) -> NDArray[np.int8]:
    """A periodic volume with a 1/f spectrum between 3 and 32 voxels, as int8 with a deviation of 40."""
    white = np.fft.rfftn(rng.standard_normal((_FINE,) * 3, dtype=np.float32))
    axis = np.fft.fftfreq(_FINE).astype(np.float32)
    half = np.fft.rfftfreq(_FINE).astype(np.float32)
    squared = axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + half[None, None, :] ** 2
    band = squared / (squared + 0.03**2) / (1e-6 + squared) ** 1.15 * np.exp(-squared / 0.22**2)
    volume = np.fft.irfftn(white * band, s=(_FINE,) * 3, axes=(0, 1, 2))
    return np.clip(volume / volume.std() * 40, -127, 127).astype(np.int8)


def _rotated(xyz_m: F64) -> Iterator[F64]:
    """The three coordinates (...) of points (3, ...) after the fixed rotation.

    Written as sums, because a matrix product may round differently for different array shapes.
    """
    for row in _ROTATION.tolist():
        turned = row[0] * xyz_m[0]
        for k in (1, 2):
            turned += row[k] * xyz_m[k]
        yield turned


@lru_cache(maxsize=1024)
def _offsets(seeds: bytes, shape: tuple[int, ...]) -> F64:
    """Where octaves begin in the table of values, (3, ..., octaves, 1) cells, by their seeds (int64)."""
    keys = np.stack([np.frombuffer(seeds, np.int64).reshape(shape) * 3 + axis for axis in range(3)])
    return hash_units(11, keys)[..., None] * _CELLS


def _smooth_step(part: F32) -> F32:
    """Perlin's quintic: from 0 to 1, level at both."""
    curve = part * 6
    curve -= 15
    curve *= part
    curve += 10
    cube = part * part
    cube *= part
    cube *= curve
    return cube


def _mixed(first: F32, second: F32, part: F32) -> F32:
    """From the first to the second by a part; in the memory of the second."""
    second -= first
    second *= part
    second += first
    return second


@dataclass(frozen=True)
class Bits:
    """Indices of the fine texture (see `Noise.fine_index`) as the byte and, in it, the bit of a texture of bits."""

    byte: NDArray[np.intp]
    mask: NDArray[np.uint8]

    @classmethod
    def of(cls, index: NDArray[np.intp]) -> Bits:
        return cls(index >> 3, np.left_shift(1, index & 7).astype(np.uint8))


class Noise:
    """Noise of one seed. Values have mean 0 and a standard deviation near 1."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 1])
        table = rng.uniform(-1, 1, size=_CELLS**3).astype(np.float32)
        # Quintic interpolation of uniform values has a standard deviation near 0.27. The table goes on by one cell
        # on each side, so that the next corner is a view that begins a little later.
        cells = np.arange(_CELLS + 1) % _CELLS
        self._table = (table / np.float32(0.27)).reshape((_CELLS,) * 3)[np.ix_(cells, cells, cells)].ravel()
        # The texture is repeated once, so that a shifted texture is a view that begins at the shift.
        self._fine = np.tile(_fine_texture(rng).ravel(), 2)
        self._above: dict[float, list[NDArray[np.uint8]]] = {}

    def smooth(self, xyz_m: F64, wavelengths_m: F64, seeds: NDArray[np.int64]) -> F32:
        """Value noise (..., octaves, points) float32 at Earth-centred metres (3, points) float64.

        The last axis of `seeds` is that of the wavelengths.
        """
        scaled = np.stack(list(_rotated(xyz_m)))[:, None, :] / wavelengths_m[:, None]
        scaled = scaled.reshape(3, *(1,) * (seeds.ndim - 1), *scaled.shape[1:]) + _offsets(seeds.tobytes(), seeds.shape)
        floor = np.floor(scaled)
        scaled -= floor
        part, cell = _smooth_step(scaled.astype(np.float32)), floor.astype(np.int32) & np.int32(_CELLS - 1)
        first = ((cell[0] * _ROW + cell[1]) * _ROW + cell[2]).astype(np.intp)
        near, far = (self._line(first, z, part) for z in (0, 1))
        return _mixed(near, far, part[2])

    def _line(self, first: NDArray[np.intp], z: int, part: F32) -> F32:
        """Values between four corners of the cells whose first corner is at an index of the table."""
        ends = []
        for y in (0, 1):
            near, far = (self._table[(x * _ROW + y) * _ROW + z :].take(first, mode="wrap") for x in (0, 1))
            ends.append(_mixed(near, far, part[0]))
        return _mixed(ends[0], ends[1], part[1])

    def fine_index(self, xyz_m: F64) -> NDArray[np.intp]:
        """The index (...) of each point (3, ...) in the fine texture; all uses of the texture share it."""
        index = np.zeros(xyz_m.shape[1:], np.int32)
        for turned in _rotated(xyz_m):
            turned /= _VOXEL_M
            cell = np.floor(turned, out=turned).astype(np.int32)
            cell &= np.int32(_FINE - 1)
            index *= np.int32(_FINE)
            index += cell
        return index.astype(np.intp)

    def fine_above(self, bits: Bits, seed: int, limit: float) -> NDArray[np.bool_]:
        """Where the shifted fine texture exceeds `limit` deviations, bool: from one bit a voxel, to stay in a cache."""
        if limit not in self._above:
            above = self._fine > np.int8(limit * 40)
            # A byte holds eight voxels from its own on, so there is a copy for each shift within a byte.
            self._above[limit] = [np.packbits(above[k:], bitorder="little") for k in range(8)]
        first, place = divmod(_shift(seed), 8)
        found = self._above[limit][place][first:].take(bits.byte, mode="wrap")
        found &= bits.mask
        return found != 0

    def grain(self, index: NDArray[np.intp], seed: int) -> F32:
        """White noise, float32, one draw per voxel of the fine texture; deviation near 1."""
        jumbled = (index * 1_664_525 + hash_int(seed, 78) % _FINE**3) & (_FINE**3 - 1)
        return np.asarray(self._fine.take(jumbled) * np.float32(1 / 40))

    def fine(self, index: NDArray[np.intp], seed: int) -> F32:
        """The fine texture at the indices of `fine_index`, shifted by a seed, float32; deviation near 1."""
        return np.asarray(_shifted(self._fine, seed).take(index) * np.float32(1 / 40))


def _shift(seed: int) -> int:
    """Where a seed's texture begins."""
    return hash_int(seed, 77) % _FINE**3


def _shifted(texture: NDArray[Any], seed: int) -> NDArray[Any]:
    """One period of the repeated texture, from an offset that depends on the seed."""
    return texture[_shift(seed) : _shift(seed) + _FINE**3]
