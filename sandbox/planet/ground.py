"""The ground under a window of a lattice: height, slope, land cover, materials and texture.

It does not depend on a date or a sensor, so windows are cached and shared between bands and scenes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sandbox.planet import fields
from sandbox.planet.fields import Fields
from sandbox.planet.lattice import (
    Lattice,
    covered,
    enclosing,
    first_quarters,
    knot_lonlat,
    knot_positions,
    pixel_positions,
    quarters,
    spread,
)  # fmt: skip
from sandbox.planet.materials import materials_of
from sandbox.planet.noise import Noise, hash_words
from sandbox.planet.parcels import Parcels
from sandbox.planet.recent import Recent, cutting, widened
from sandbox.planet.world import CHANNELS, World
from sandbox.raster.stored import Window

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]
T = TypeVar("T")

_HEIGHT_M = np.array([38e3, 18.3e3, 8.7e3, 4.1e3, 2.05e3, 980.0, 470.0, 250.0])
_PATCH_M = np.array([3100.0, 1250.0, 540.0, 270.0])
_OTHER_M = np.array([16e3, 5.2e3, 11e3, 3.6e3, 7.4e3, 4.4e3, 1.5e3, 3.0e3, 2.9e3])
_WAVELENGTHS_M = np.concatenate([_HEIGHT_M, _PATCH_M, _OTHER_M])
_AMPLITUDES_M = (0.021 * np.minimum(_HEIGHT_M, 22e3)).astype(np.float32)[:, None, None]
# Enough for the layers of a chip on every thread of the service. More would always be new memory, page by page.
_CACHED_WINDOWS, _CACHED_PIXELS = 24 * max((os.cpu_count() or 2) // 2, 1), 512 * 512
# 20 m windows up to this size are taken from a 10 m window, which other bands use too; the pixels are the same.
_SHARED_PIXELS = 256 * 256
# The octaves that `relief` reads: eight for height and three for rivers.
_RELIEF_OCTAVES = np.array([*range(8), 10, 12, 13])
_ALL_OCTAVES = np.arange(_WAVELENGTHS_M.size)
_C = {name: k for k, name in enumerate(CHANNELS)}
# Octaves this long are computed at every fourth node only: bilinear interpolation between them has an error
# below a hundredth of their range.
_LONG_M, _SPARSE = 1.9e3, 4
# By the names of `Ground`: the smooth fields.
_SMOOTH = {
    "height_m": "height", "east": "east", "north": "north", "warmth_c": "warmth", "swing_c": "swing",
    "rain_mm": "rain", "rain_season": "season",
}  # fmt: skip


@dataclass(frozen=True)
class Nodes:
    """Smooth fields at every `step` pixels, with a margin of one node; arrays (..., rows, columns)."""

    channels: F32
    height_m: F32
    east: F32
    north: F32
    octaves: F32


class Ground:
    """Pixel fields (height, width) of `window`, which is in lattice indices, each made by `make(name)` on first use.

    `east` and `north` are slopes (m/m), `fine` is texture of deviation 1, `parcel` a random byte per field,
    `warmth_c` the annual mean temperature (degrees C) at the pixel's height, `swing_c` its yearly amplitude.
    """

    height_m: F32
    east: F32
    north: F32
    material: U8
    parcel: U8
    fine: F32
    fine_index: NDArray[np.intp]
    warmth_c: F32
    swing_c: F32
    rain_mm: F32
    rain_season: F32

    def __init__(self, window: Window, make: Callable[[str], NDArray[Any]]) -> None:
        self.window, self._make = window, make
        self._notes: dict[str, Any] = {}

    def __getattr__(self, name: str) -> NDArray[Any]:
        if name not in Ground.__annotations__:
            raise AttributeError(name)
        made = self.__dict__[name] = self._make(name)
        return made

    def derived(self, name: str, make: Callable[[Ground], T]) -> T:
        """The result of `make(self)`, computed once per name; it must depend on the ground alone."""
        if name not in self._notes:
            self._notes[name] = make(self)
        made: T = self._notes[name]
        return made

    def cut(self, window: Window) -> Ground:
        return self._picked(window, cutting(self.window, window))

    def every_other(self, window: Window) -> Ground:
        """Every other pixel: the upper left quarters of the 20 m pixels of `window` (20 m lattice indices)."""
        rows, columns = cutting(self.window, _fourfold(window))
        return self._picked(window, (slice(rows.start, rows.stop, 2), slice(columns.start, columns.stop, 2)))

    def _picked(self, window: Window, pixels: tuple[slice, slice]) -> Ground:
        return Ground(window, lambda name: np.ascontiguousarray(getattr(self, name)[pixels]))


def _fourfold(window: Window) -> Window:
    """The 10 m pixels of a window of 20 m pixels."""
    return Window(window.column * 2, window.row * 2, window.width * 2, window.height * 2)


class Surface:
    """Computes ground, heights and smooth fields for windows of any lattice. Thread-safe."""

    def __init__(self, seed: int, noise: Noise, world: World) -> None:
        self.seed, self.noise, self.world = seed, noise, world
        self._grounds: Recent[Ground] = Recent(_CACHED_WINDOWS, _CACHED_PIXELS)
        self._heights: Recent[F32] = Recent(_CACHED_WINDOWS, _CACHED_PIXELS)
        self._octave_seeds = seed * 7919 + 500 + np.arange(_WAVELENGTHS_M.size)

    def ground(self, lattice: Lattice, window: Window) -> Ground:
        """The fields of `window`; neighbouring windows within a few pixels use the same cached window."""
        known = self._grounds.around(lattice, window)
        if known is not None and known[0] == window:
            return known[1]
        value = known[1].cut(window) if known else self._computed(lattice, window)
        return self._grounds.keep(lattice, window, value)

    def _computed(self, lattice: Lattice, window: Window) -> Ground:
        fine = quarters(lattice)
        if fine is None:
            return self._widened(lattice, window).cut(window)
        if window.width * window.height > _SHARED_PIXELS:
            return self._ground(first_quarters(lattice), window)
        known = self._grounds.around(fine, _fourfold(window))
        return (known[1] if known else self._widened(fine, _fourfold(window))).every_other(window)

    def _widened(self, lattice: Lattice, window: Window) -> Ground:
        # The margin of a 10 m window includes the pixels that interpolation of the scene's 20 m bands needs.
        margin = 1 if window.width * window.height <= 64 else 4 if lattice.dx == 10 else 2
        wide = widened(window, margin)
        return self._grounds.keep(lattice, wide, self._ground(lattice, wide))

    def height_m(self, lattice: Lattice, window: Window) -> F32:
        """Metres above sea level at pixel centres, (height, width) float32; the cached window is wider, for slopes."""
        known = self._heights.around(lattice, window)
        wide = known[0] if known else widened(window, 2)
        height = known[1] if known else self._heights.keep(lattice, wide, self._height_m(lattice, wide))
        return height[cutting(wide, window)]

    def _height_m(self, lattice: Lattice, window: Window) -> F32:
        _, positions, channels, node_window = self._node_positions(lattice, window)
        height = relief(channels, self._octaves(lattice, positions, node_window, _RELIEF_OCTAVES))
        return spread(np.ascontiguousarray(height[1:-1, 1:-1]), window, lattice.step)

    def nodes(self, lattice: Lattice, window: Window) -> Nodes:
        """Smooth fields at the nodes around a window."""
        lat, positions, channels, node_window = self._node_positions(lattice, window)
        octaves = self._octaves(lattice, positions, node_window, _ALL_OCTAVES)
        height = relief(channels, octaves)
        east, north = _slopes(height, lattice, lat)
        return Nodes(channels, height, east, north, octaves)

    def _node_positions(self, lattice: Lattice, window: Window) -> tuple[F64, F64, F32, Window]:
        nodes, spacing = widened(enclosing(window, lattice.step), 1), lattice.knot // lattice.step
        around = covered(nodes, lattice.step)
        lon, lat = knot_lonlat(lattice, around)
        positions = spread(knot_positions(lattice, around), nodes, spacing)
        channels = spread(self.world.sample(lon, lat), nodes, spacing)
        return spread(lat, nodes, spacing), positions, channels, nodes

    def _octaves(self, lattice: Lattice, positions: F64, nodes: Window, used: NDArray[np.int64]) -> F32:
        """Noise (all octaves, rows, columns) at nodes; octaves that are not `used` stay 0."""
        octaves = np.zeros((len(_WAVELENGTHS_M), nodes.height, nodes.width), np.float32)
        long = _WAVELENGTHS_M[used] >= _LONG_M
        octaves[used[~long]] = self._noise_at(positions, used[~long])
        sparse = _sparse_positions(lattice, nodes)
        octaves[used[long]] = spread(self._noise_at(sparse, used[long]), nodes, _SPARSE)
        return octaves

    def _noise_at(self, positions: F64, octaves: NDArray[np.int64]) -> F32:
        flat = np.ascontiguousarray(positions.reshape(3, -1))
        values = self.noise.smooth(flat, _WAVELENGTHS_M[octaves], self._octave_seeds[octaves])
        return values.reshape(-1, *positions.shape[1:])

    def _ground(self, lattice: Lattice, window: Window) -> Ground:
        return Ground(window, _Making(self, lattice, window).field)


@dataclass(eq=False)
class _Making:
    """What the fields of one window are made of; each part is computed when a field first needs it."""

    surface: Surface
    lattice: Lattice
    window: Window

    def field(self, name: str) -> NDArray[Any]:
        """A field of `Ground`."""
        if name in _SMOOTH:
            return self._fields[_SMOOTH[name]]
        made: NDArray[Any] = getattr(self, f"_{name}")
        return made

    @cached_property
    def _fields(self) -> Fields:
        return Fields(_stack(self.surface.nodes(self.lattice, self.window)), self.window, self.lattice.step)

    @cached_property
    def _fine_index(self) -> NDArray[np.intp]:
        return self.surface.noise.fine_index(pixel_positions(self.lattice, self.window))

    @cached_property
    def _fine(self) -> F32:
        return self.surface.noise.fine(self._fine_index, self.surface.seed + 1)

    @cached_property
    def _parcels(self) -> Parcels:
        lon, lat = spread(knot_lonlat(self.lattice, self.window), self.window, self.lattice.knot)
        return Parcels(self.surface.seed, lon, lat, self._fields["warp_a"], self._fields["warp_b"])

    @property
    def _parcel(self) -> U8:
        return self._parcels.plots.byte

    @property
    def _material(self) -> U8:
        other = self.surface.noise.fine(self._fine_index, self.surface.seed + 2)
        return materials_of(self._fields, self._fine, other, lambda: self._parcels)


def _sparse_positions(lattice: Lattice, nodes: Window) -> F64:
    """Earth-centred metres (3, rows, columns) at the fourth nodes that enclose `nodes`."""
    sparse, step = enclosing(nodes, _SPARSE), lattice.step * _SPARSE
    return spread(knot_positions(lattice, covered(sparse, step)), sparse, lattice.knot // step)


def relief(channels: F32, octaves: F32) -> F32:
    """Height in metres (rows, columns) float32: the half-degree height plus fractal detail scaled by `rough`, less
    valleys."""
    rough = channels[_C["rough"]]
    ridged = 1.1 - 1.6 * np.abs(octaves[:4])
    ridge_weight = np.clip(rough * 1.6 - 0.15, 0, 1)
    waves = octaves[:8].copy()
    waves[:4] += (ridged - waves[:4]) * ridge_weight
    waves *= _AMPLITUDES_M
    detail = waves.sum(axis=0)
    base = channels[_C["height_m"]]
    detail *= rough
    # Lowlands stay above sea level: hollows are compressed, except in a narrow band along the shore.
    depth = np.float32(0.93) * np.maximum(base, 0) + 9
    hollow = np.maximum(-detail, 0)
    height = base + np.where(base > 0, np.maximum(detail, 0) - hollow * depth / (depth + hollow), detail)
    river = np.abs(_river(octaves))
    valley = np.clip(1 - river * 5, 0, 1)
    return np.asarray(
        height - valley * valley * np.minimum(6 + 190 * rough, 0.6 * np.maximum(height, 0)), dtype=np.float32
    )


def _river(octaves: F32) -> F32:
    return np.asarray(octaves[12] + 0.30 * octaves[13] + 0.05 * octaves[10], dtype=np.float32)


def _slopes(height: F32, lattice: Lattice, lat: F64) -> tuple[F32, F32]:
    """Central differences (m/m) to the east and the north; the values in the margin are not valid."""
    spacing = lattice.step * lattice.pixel_m
    # Bhaskara's approximation of the cosine: four operations that give the same bits at any array position.
    squared = lat * lat
    shrink = (32400 - 4 * squared) / (32400 + squared) if lattice.epsg == 4326 else np.ones_like(lat)
    east, north = np.zeros_like(height), np.zeros_like(height)
    wide = (2 * spacing * np.maximum(shrink, 0.01)).astype(np.float32)
    east[:, 1:-1] = (height[:, 2:] - height[:, :-2]) / wide[:, 1:-1]
    north[1:-1] = (height[:-2] - height[2:]) / np.float32(2 * spacing)
    return east, north


def _stack(nodes: Nodes) -> F32:
    """The node fields that pixels need, (len(fields.NAMES), rows, columns) float32, without the margin."""
    o, c = nodes.octaves, nodes.channels
    steep = np.sqrt(nodes.east**2 + nodes.north**2)
    flat = np.clip(1.25 - steep * 6, 0, 1)
    warmth = c[_C["sea_level_c"]] - np.float32(0.006) * np.maximum(nodes.height_m, 0)
    people = c[_C["people"]]
    summer = warmth + c[_C["amplitude_c"]]
    crop = c[_C["crop"]] * flat * np.clip(0.35 + 1.1 * people + 0.55 * o[14], 0, 1.25)
    stack = {
        **{name: c[_C[name]] for name in ("shrub", "grass", "wet", "conifer", "mangrove")},
        "height": nodes.height_m, "east": nodes.east, "north": nodes.north, "warmth": warmth,
        "swing": c[_C["amplitude_c"]], "rain": c[_C["rain_mm"]], "season": c[_C["rain_season"]],
        "warp_a": o[19], "warp_b": o[20],
        "patch": 0.62 * o[8] + 0.52 * o[9] + 0.42 * o[10] + 0.34 * o[11],
        "mix": 0.75 * o[18] + 0.55 * o[10] + 0.45 * o[16],
        "river": _river(o),
        "lake": 0.8 * o[17] + 0.5 * o[18] + 5.0 * np.minimum(c[_C["wet"]], 0.16) - steep * 25 - 2.3,
        "road": o[16] + 0.05 * o[9],
        "town": (0.75 * o[15] + 0.45 * o[14] + 2.2 * people - 3.3) * flat - (1 - flat),
        "tree": c[_C["tree"]] * np.clip((summer - 8) / 4, 0, 1),
        "crop": crop * np.clip((summer - 11) / 3, 0, 1),
    }  # fmt: skip
    return np.stack([stack[name][1:-1, 1:-1] for name in fields.NAMES])


def byte_noise(seed: int, window: Window) -> NDArray[np.uint32]:
    """32 random bits for each pixel of a window, by its absolute lattice index."""
    columns = np.arange(window.column, window.column + window.width, dtype=np.int64)
    rows = np.arange(window.row, window.row + window.height, dtype=np.int64)
    return hash_words(seed, columns[None, :], rows[:, None])
