"""The ground under a window of a lattice: height, slope, land cover, materials and texture.

It does not depend on a date or a sensor, so windows are cached and shared between bands and scenes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sandbox.planet.lattice import (
    Lattice,
    covering,
    first_quarters,
    knot_lonlat,
    knot_positions,
    pixel_positions,
    quarters,
    spread,
)  # fmt: skip
from sandbox.planet.noise import Noise, hash_words
from sandbox.planet.parcels import Parcels, parcels_of
from sandbox.planet.world import CHANNELS, World
from sandbox.raster.stored import Window

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]
T = TypeVar("T")

# Materials determine reflectance. Each belongs to one WorldCover class.
MATERIALS = (
    "broadleaf", "conifer", "shrub", "grass", "crop", "roof", "street", "sand", "rock", "snow", "water",
    "wetland", "mangrove", "moss", "hedge",
)  # fmt: skip
M = {name: np.uint8(k) for k, name in enumerate(MATERIALS)}
WORLDCOVER = np.array([10, 10, 20, 30, 40, 50, 50, 60, 60, 70, 80, 90, 95, 100, 10], dtype=np.uint8)

_HEIGHT_M = np.array([38e3, 18.3e3, 8.7e3, 4.1e3, 2.05e3, 980.0, 470.0, 250.0])
_PATCH_M = np.array([3100.0, 1250.0, 540.0, 270.0])
_OTHER_M = np.array([16e3, 5.2e3, 11e3, 3.6e3, 7.4e3, 4.4e3, 1.5e3, 3.0e3, 2.9e3])
_WAVELENGTHS_M = np.concatenate([_HEIGHT_M, _PATCH_M, _OTHER_M])
_CACHED_WINDOWS, _CACHED_PIXELS = 64, 512 * 512
# 20 m windows up to this size are taken from a 10 m window, which other bands use too; the pixels are the same.
_SHARED_PIXELS = 256 * 256
# The octaves that `relief` reads: eight for height and three for rivers.
_RELIEF_OCTAVES = np.array([*range(8), 10, 12, 13])
_ALL_OCTAVES = np.arange(_WAVELENGTHS_M.size)
_C = {name: k for k, name in enumerate(CHANNELS)}
# Octaves this long are computed at every fourth node only: bilinear interpolation between them has an error
# below a hundredth of their range.
_LONG_M, _SPARSE = 1.9e3, 4


@dataclass(frozen=True)
class Nodes:
    """Smooth fields at every `step` pixels, with a margin of one node; arrays (..., rows, columns)."""

    channels: F32
    height_m: F32
    east: F32
    north: F32
    octaves: F32


@dataclass(frozen=True)
class Ground:
    """Pixel fields (height, width) of `window`, which is in lattice indices; float32 unless declared otherwise.

    `east` and `north` are slopes (m/m), `fine` is texture of deviation 1, `parcel` a random byte per field,
    `warmth_c` the annual mean temperature (degrees C) at the pixel's height, `swing_c` its yearly amplitude.
    """

    window: Window
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
    notes: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def derived(self, name: str, make: Callable[[Ground], T]) -> T:
        """The result of `make(self)`, computed once per name; it must depend on the ground alone."""
        if name not in self.notes:
            self.notes[name] = make(self)
        made: T = self.notes[name]
        return made

    def cut(self, window: Window) -> Ground:
        return self._picked(window, cutting(self.window, window))

    def every_other(self, window: Window) -> Ground:
        """Every other pixel: the upper left quarters of the 20 m pixels of `window` (20 m lattice indices)."""
        fine = Window(window.column * 2, window.row * 2, window.width * 2, window.height * 2)
        rows, columns = cutting(self.window, fine)
        return self._picked(window, (slice(rows.start, rows.stop, 2), slice(columns.start, columns.stop, 2)))

    def _picked(self, window: Window, pixels: tuple[slice, slice]) -> Ground:
        arrays: dict[str, Any] = {
            name: np.ascontiguousarray(getattr(self, name)[pixels])
            for name in self.__dataclass_fields__
            if name not in ("window", "notes")
        }
        return Ground(window=window, **arrays)


def cutting(outer: Window, inner: Window) -> tuple[slice, slice]:
    """The slices (rows, columns) of an inner window in an outer window's arrays."""
    row, column = inner.row - outer.row, inner.column - outer.column
    return slice(row, row + inner.height), slice(column, column + inner.width)


def widened(window: Window, margin: int) -> Window:
    """The window with a margin of pixels on each side."""
    return Window(window.column - margin, window.row - margin, window.width + 2 * margin, window.height + 2 * margin)


def _remember(cache: OrderedDict[tuple[Lattice, Window], T], key: tuple[Lattice, Window], value: T) -> None:
    """Cache the value of a small window; only the latest windows stay in the cache."""
    if key[1].width * key[1].height <= _CACHED_PIXELS:
        cache[key] = value
    while len(cache) > _CACHED_WINDOWS:
        cache.popitem(last=False)


def holds(outer: Window, inner: Window) -> bool:
    return (
        outer.column <= inner.column
        and outer.row <= inner.row
        and outer.column + outer.width >= inner.column + inner.width
        and outer.row + outer.height >= inner.row + inner.height
    )


class Surface:
    """Computes ground, heights and smooth fields for windows of any lattice. Thread-safe."""

    def __init__(self, seed: int, noise: Noise, world: World) -> None:
        self.seed, self.noise, self.world = seed, noise, world
        self._grounds: OrderedDict[tuple[Lattice, Window], Ground] = OrderedDict()
        self._wide: OrderedDict[tuple[Lattice, Window], Ground] = OrderedDict()
        self._heights: OrderedDict[tuple[Lattice, Window], F32] = OrderedDict()
        self._lock = threading.Lock()
        self._octave_seeds = seed * 7919 + 500 + np.arange(_WAVELENGTHS_M.size)

    def ground(self, lattice: Lattice, window: Window) -> Ground:
        """The fields of `window`; neighbouring windows within a few pixels use the same cached window."""
        with self._lock:
            value = self._grounds.get((lattice, window))
            wider = value or next((g for k, g in self._wide.items() if holds(k[1], window) and k[0] == lattice), None)
        if value is not None:
            return value
        value = wider.cut(window) if wider else self._computed(lattice, window)
        with self._lock:
            _remember(self._grounds, (lattice, window), value)
        return value

    def _computed(self, lattice: Lattice, window: Window) -> Ground:
        fine = quarters(lattice)
        if fine is None:
            return self._widened(lattice, window).cut(window)
        if window.width * window.height > _SHARED_PIXELS:
            return self._ground(first_quarters(lattice), window)
        fine_window = Window(window.column * 2, window.row * 2, window.width * 2, window.height * 2)
        with self._lock:
            wider = next((g for k, g in self._wide.items() if holds(k[1], fine_window) and k[0] == fine), None)
        return (wider or self._widened(fine, fine_window)).every_other(window)

    def _widened(self, lattice: Lattice, window: Window) -> Ground:
        # The margin of a 10 m window includes the pixels that interpolation of the scene's 20 m bands needs.
        margin = 1 if window.width * window.height <= 64 else 6 if lattice.dx == 10 else 4
        wide = widened(window, margin)
        value = self._ground(lattice, wide)
        with self._lock:
            _remember(self._wide, (lattice, wide), value)
        return value

    def height_m(self, lattice: Lattice, window: Window) -> F32:
        """Metres above sea level at pixel centres, (height, width) float32; the cached window is wider, for slopes."""
        with self._lock:
            result = next((k for k in self._heights if holds(k[1], window) and k[0] == lattice), None)
            height = self._heights[result] if result else None
        wide = result[1] if result else widened(window, 2)
        if height is None:
            height = self._height_m(lattice, wide)
            with self._lock:
                _remember(self._heights, (lattice, wide), height)
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
        first_column, columns = covering(window.column, window.width, lattice.step)
        first_row, rows = covering(window.row, window.height, lattice.step)
        nodes = Window(first_column - 1, first_row - 1, columns + 2, rows + 2)
        spacing = lattice.knot // lattice.step
        step = lattice.step
        around = Window(nodes.column * step, nodes.row * step, nodes.width * step, nodes.height * step)
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
        nodes = self.nodes(lattice, window)
        slow = spread(_slow_stack(nodes), window, lattice.step)
        fields = dict(zip(_SLOW, slow, strict=True))
        knots = knot_lonlat(lattice, window)
        positions = pixel_positions(lattice, window)
        index = self.noise.fine_index(positions)
        fine = self.noise.fine(index, self.seed + 1)
        lon, lat = spread(knots[0], window, lattice.knot), spread(knots[1], window, lattice.knot)
        parcels = parcels_of(self.seed, lon, lat, fields["warp_a"], fields["warp_b"])
        material = _materials(fields, fine, self.noise.fine(index, self.seed + 2), parcels)
        return Ground(
            window=window, height_m=fields["height"], east=fields["east"], north=fields["north"],
            material=material, parcel=parcels.byte, fine=fine, fine_index=index,
            warmth_c=fields["warmth"], swing_c=fields["swing"], rain_mm=fields["rain"],
            rain_season=fields["season"],
        )  # fmt: skip


def _sparse_positions(lattice: Lattice, nodes: Window) -> F64:
    """Earth-centred metres (3, rows, columns) at the fourth nodes that enclose `nodes`."""
    first_column, columns = covering(nodes.column, nodes.width, _SPARSE)
    first_row, rows = covering(nodes.row, nodes.height, _SPARSE)
    sparse, step = Window(first_column, first_row, columns, rows), lattice.step * _SPARSE
    around = Window(sparse.column * step, sparse.row * step, sparse.width * step, sparse.height * step)
    return spread(knot_positions(lattice, around), sparse, lattice.knot // step)


def relief(channels: F32, octaves: F32) -> F32:
    """Height in metres (rows, columns) float32: the half-degree height plus fractal detail scaled by `rough`, less
    valleys."""
    rough = channels[_C["rough"]]
    ridged = 1.1 - 1.6 * np.abs(octaves[:4])
    ridge_weight = np.clip(rough * 1.6 - 0.15, 0, 1)
    detail = np.zeros_like(rough)
    for k, wavelength in enumerate(_HEIGHT_M):
        wave = octaves[k] if k >= 4 else octaves[k] + (ridged[k] - octaves[k]) * ridge_weight
        detail += np.float32(0.021 * min(wavelength, 22e3)) * wave
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


_SLOW = (
    "height", "east", "north", "patch", "mix", "river", "lake", "road", "town", "tree", "shrub", "grass", "crop", "wet",
    "conifer", "mangrove", "warmth", "swing", "rain", "season", "warp_a", "warp_b",
)  # fmt: skip


def _slow_stack(nodes: Nodes) -> F32:
    """The node fields that pixels need, (len(_SLOW), rows, columns) float32, without the margin."""
    o, c = nodes.octaves, nodes.channels
    steep = np.sqrt(nodes.east**2 + nodes.north**2)
    flat = np.clip(1.25 - steep * 6, 0, 1)
    warmth = c[_C["sea_level_c"]] - np.float32(0.006) * np.maximum(nodes.height_m, 0)
    patch = 0.62 * o[8] + 0.52 * o[9] + 0.42 * o[10] + 0.34 * o[11]
    mix = 0.75 * o[18] + 0.55 * o[10] + 0.45 * o[16]
    people = c[_C["people"]]
    town = (0.75 * o[15] + 0.45 * o[14] + 2.2 * people - 3.3) * flat - (1 - flat)
    lake = 0.8 * o[17] + 0.5 * o[18] + 5.0 * np.minimum(c[_C["wet"]], 0.16) - steep * 25 - 2.3
    summer = warmth + c[_C["amplitude_c"]]
    tree = c[_C["tree"]] * np.clip((summer - 8) / 4, 0, 1)
    crop = c[_C["crop"]] * flat * np.clip(0.35 + 1.1 * people + 0.55 * o[14], 0, 1.25)
    crop = crop * np.clip((summer - 11) / 3, 0, 1)
    stack = (
        nodes.height_m, nodes.east, nodes.north, patch, mix, _river(o), lake, o[16] + 0.05 * o[9], town, tree,
        c[_C["shrub"]], c[_C["grass"]], crop, c[_C["wet"]], c[_C["conifer"]], c[_C["mangrove"]], warmth,
        c[_C["amplitude_c"]], c[_C["rain_mm"]], c[_C["rain_season"]], o[19], o[20],
    )  # fmt: skip
    return np.stack([field[1:-1, 1:-1] for field in stack]).astype(np.float32)


def _smooth_rank(values: F32) -> F32:
    """A smooth rank in (0, 1) of values with deviation near 1 (logistic-like, rational)."""
    return np.asarray(0.5 + 0.62 * values / (1 + np.abs(values)) * np.float32(1.05), dtype=np.float32)


def _materials(f: dict[str, F32], fine: F32, other: F32, parcels: Parcels) -> U8:
    """Material of each pixel; later rules paint over earlier ones."""
    rank = _smooth_rank(f["patch"] + 0.35 * fine)
    material = _vegetation(f, rank, other)
    _paint_fields(material, f, parcels, rank)
    _paint_towns(material, f, parcels, other)
    _paint_water(material, f, fine)
    return material


def _vegetation(f: dict[str, F32], rank: F32, other: F32) -> U8:
    tree = f["tree"]
    material = np.where(f["rain"] * (1 + 0.25 * other) < 420, M["sand"], M["rock"])
    # The land between the woods follows a second pattern, so that classes are not nested like contour lines.
    open_cover = np.maximum(1 - tree, 0.02)
    rank_open = _smooth_rank(f["mix"] + 0.45 * other) * open_cover
    material[rank_open < f["shrub"] + f["grass"]] = M["grass"]
    material[rank_open < f["shrub"]] = M["shrub"]
    summer = f["warmth"] + f["swing"]
    material[(summer + 1.5 * other < 11.5) & (material == M["grass"])] = M["moss"]
    woods = rank < tree
    material[woods] = M["broadleaf"]
    material[woods & (f["conifer"] + 0.22 * other > 0.5)] = M["conifer"]
    material[(f["wet"] > 0.04) & (rank + 0.1 * other > 1.02 - 1.1 * f["wet"])] = M["wetland"]
    material[summer + 1.2 * other - 6 * np.abs(f["north"]) < 0.5] = M["snow"]
    return np.asarray(material)


def _paint_fields(material: U8, f: dict[str, F32], parcels: Parcels, rank: F32) -> None:
    ploughed = parcels.chance < f["crop"]
    # Woods and scrub remain in farmland where the patch noise has extreme values.
    ploughed &= (rank > f["tree"] * 0.22) & (f["height"] > 0)
    material[ploughed] = M["crop"]
    hedge = ploughed & parcels.edge & (parcels.byte & 3 == 0) & (f["rain"] > 500)
    material[hedge] = M["hedge"]
    material[ploughed & parcels.edge & (parcels.byte & 3 == 1)] = M["grass"]


def _paint_towns(material: U8, f: dict[str, F32], parcels: Parcels, other: F32) -> None:
    town = f["town"] + 0.12 * other
    inside = (town > 0) & (f["height"] > 0.5)
    built = inside & (parcels.block < 0.55 + 0.5 * town)
    material[built] = M["roof"]
    material[inside & parcels.street] = M["street"]
    road = (np.abs(f["road"]) < 0.0042) & (f["crop"] > 0.12) & (f["height"] > 0.5)
    material[road] = M["street"]


def _paint_water(material: U8, f: dict[str, F32], fine: F32) -> None:
    arid = np.clip(f["rain"] / 650, 0.04, 1.3)
    steep = np.clip(1 - 3 * (f["east"] ** 2 + f["north"] ** 2) ** 0.5, 0.1, 1)
    bank = np.abs(f["river"]) - 0.0055 * arid * steep
    material[(bank < 0.008 * f["wet"] + 0.001 * fine) & (f["wet"] > 0.02)] = M["wetland"]
    material[bank < 0] = M["water"]
    material[(f["lake"] + 0.05 * fine > 0) & (f["rain"] > 350)] = M["water"]
    shore = (f["mangrove"] > 0.08) & (f["height"] < 9) & (f["height"] + 2.5 * fine > -1)
    material[shore & (material != M["roof"])] = M["mangrove"]
    sea = f["height"] <= 0
    material[sea & ~shore] = M["water"]
    frozen = f["warmth"] + f["swing"] < -1
    material[frozen & sea] = M["snow"]


def byte_noise(seed: int, window: Window) -> NDArray[np.uint32]:
    """32 random bits for each pixel of a window, by its absolute lattice index."""
    columns = np.arange(window.column, window.column + window.width, dtype=np.int64)
    rows = np.arange(window.row, window.row + window.height, dtype=np.int64)
    return hash_words(seed, columns[None, :], rows[:, None])
