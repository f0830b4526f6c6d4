"""Sentinel-1 GRD: slices of ascending and descending passes on UTM grids, backscatter in dB, observation plan.

175 relative orbits in 12 days (ESA Sentinel-1 user handbook), swath 250 km, dawn (descending) and dusk passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from sandbox.planet.geodesy import epsg_of, utm_from_lonlat, zone_of
from sandbox.planet.geometry import footprint_of, lonlat_boxes, touches
from sandbox.planet.ground import Surface, byte_noise
from sandbox.planet.lattice import Lattice, utm_lattice
from sandbox.planet.materials import MATERIALS
from sandbox.planet.noise import Noise, hash_int, hash_unit
from sandbox.planet.raster import Extent, LazyImage, PlanetBand, extent_of
from sandbox.planet.season import phase_after_midwinter, season_of
from sandbox.planet.timeline import DAY_MS, day_of, stamp, year_phase
from sandbox.planet.world import World
from sandbox.raster.stored import Query, QueryTooLarge, StoredImage, Valid, Values, Window

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

COLLECTION = "COPERNICUS/S1_GRD"
_ORBITS, _CYCLE_DAYS = 175, 12
_SLICE_DEG = 1.6
_HALF_SWATH_DEG = 1.13
_INCLINATION, _DRIFT = np.radians(98.18), 98.6 / 1436.07
_EPOCH = day_of(2014, 10, 5)
_LAST_DAY = day_of(2025, 12, 31)
_B_DAYS = (day_of(2016, 9, 22), day_of(2021, 12, 23))
_LIMIT = 5000

# dB at 38 degrees: VV (or HH) and VH (or HV), by material.
_DB = {
    "broadleaf": (-8.6, -14.4), "conifer": (-9.0, -14.9), "shrub": (-11.6, -18.4), "grass": (-12.6, -20.0),
    "crop": (-11.4, -18.6), "roof": (-3.6, -11.4), "street": (-9.5, -17.8), "sand": (-16.0, -26.0),
    "rock": (-11.6, -21.4), "snow": (-12.4, -20.6), "water": (-20.0, -27.8), "wetland": (-9.6, -18.2),
    "mangrove": (-8.4, -14.6), "moss": (-11.8, -19.8), "hedge": (-9.2, -15.4),
}  # fmt: skip
_TABLE = np.array([_DB[name] for name in MATERIALS], dtype=np.float32).T
_GREENING = np.array([0.4, 0.1, 0.9, 1.0, 3.0, 0, 0, 0, 0, 0, 0, 0.5, 0, 0.8, 0.6], dtype=np.float32)
_PATCHY = np.array([0.9, 0.9, 0.8, 0.6, 0.5, 3.2, 1.0, 0.9, 1.2, 0.8, 0.4, 1.0, 0.7, 0.9, 0.9], dtype=np.float32)
# Speckle of a 4.4-look GRD product (ESA): quantiles of a gamma distribution with mean 1, in dB.
_SPECKLE = (10 * np.log10(np.sort(np.random.default_rng(44).gamma(4.4, 1 / 4.4, size=4096).astype(np.float64)))).astype(
    np.float32
)


@dataclass(frozen=True)
class Slice:
    """A slice of a relative orbit's swath. `part` is its number from the equator, in flight direction."""

    orbit: int
    ascending: bool
    part: int


@dataclass(frozen=True)
class Outline:
    """A slice on the ground: corners (4, 2) in UTM metres, in either orientation, and its footprint."""

    epsg: int
    lon: float
    lat: float
    corners_m: tuple[tuple[float, float], ...]
    footprint: BaseGeometry
    extent: Extent


@dataclass(frozen=True)
class Acquisition:
    """One acquisition of a slice."""

    slice: Slice
    satellite: str
    cycle: int
    start_ms: int

    @property
    def absolute_orbit(self) -> int:
        """The absolute orbit, from which users compute: relative = (absolute - 73) mod 175 + 1 (27 for S1B)."""
        return self.cycle * _ORBITS + self.slice.orbit - 1 + (73 if self.satellite == "S1A" else 27)

    @property
    def key(self) -> int:
        return hash_int(self.absolute_orbit, self.slice.part, int(self.slice.ascending), ord(self.satellite[-1]))


@dataclass(frozen=True)
class Echo:
    """What both polarisations of an acquisition share in a window, (height, width) each: what is added in dB, in order,
    and which pixels are in the slice (None: all)."""

    material: NDArray[np.uint8]
    parts_db: tuple[F32, ...]
    valid: Valid | None


def _relative_track(w: F64, ascending: bool) -> tuple[F64, F64]:
    """Longitude from the node and latitude, at angles `w` (degrees) along the orbit from the equator crossing."""
    a = np.radians(w)
    lat = np.degrees(np.arcsin(np.sin(_INCLINATION) * np.sin(a)))
    lon = np.degrees(np.arctan2(np.cos(_INCLINATION) * np.sin(a), np.cos(a)) - a * _DRIFT)
    return lon, lat if ascending else -lat


@lru_cache(maxsize=512)
def _relative_corners(ascending: bool, part: int) -> F64:
    """Corners (4, 2) of a slice in degrees, with longitudes relative to its orbit's node."""
    w = np.array([part, part + 1.0]) * _SLICE_DEG
    lon, lat = _relative_track(w, ascending)
    wide = _HALF_SWATH_DEG / np.cos(np.radians(np.clip(lat, -80, 80)))
    lean = np.array([-0.18, -0.18]) if ascending else np.array([0.18, 0.18])
    return np.array([
        (lon[0] - wide[0], lat[0] - lean[0]), (lon[1] - wide[1], lat[1] - lean[1]),
        (lon[1] + wide[1], lat[1] + lean[1]), (lon[0] + wide[0], lat[0] + lean[0]),
    ])  # fmt: skip


def _node(orbit: int, ascending: bool) -> float:
    return -3.1 - (orbit - 1) * 360.0 * _CYCLE_DAYS / _ORBITS + (0.0 if ascending else 167.7)


@lru_cache(maxsize=4096)
def outline_of(piece: Slice) -> Outline:
    corners = _relative_corners(piece.ascending, piece.part) + [_node(piece.orbit, piece.ascending), 0]
    lon, lat = corners.mean(axis=0)
    lon = float((lon + 180) % 360 - 180)
    epsg = epsg_of(zone_of(lon), bool(lat >= 0))
    x, y = utm_from_lonlat(corners[:, 0], corners[:, 1], epsg)
    left, right = np.floor(x.min() / 10) * 10, np.ceil(x.max() / 10) * 10
    bottom, top = np.floor(y.min() / 10) * 10, np.ceil(y.max() / 10) * 10
    extent = extent_of(utm_lattice(epsg, 10), left, top, right - left, top - bottom)
    corners_m = np.stack([x, y], axis=1)
    footprint = footprint_of(corners_m, epsg)
    return Outline(epsg, lon, float(lat), tuple(map(tuple, corners_m.tolist())), footprint, extent)


class Radar:
    """The S1_GRD catalogue and its pixels. Thread-safe."""

    def __init__(self, seed: int, world: World, noise: Noise, surface: Surface) -> None:
        self._seed, self._world, self._noise, self._surface = seed, world, noise, surface
        self._echo = lru_cache(maxsize=8)(self._make_echo)
        self._planned = lru_cache(maxsize=16384)(self._is_planned)

    def find(self, query: Query) -> list[StoredImage]:
        """Images that intersect the region and start in the period, by system:index.

        Raises:
            QueryTooLarge: the query has no region or needs more than 5,000 images.
        """
        if query.region is None:
            raise QueryTooLarge("Sentinel-1 without a region holds more than 5,000 images")
        wanted = dict(query.property_equals).get("orbitProperties_pass")
        passes = [up for up in (True, False) if wanted in (None, "ASCENDING" if up else "DESCENDING")]
        slices = sorted(self._slices(query.region, passes), key=lambda p: (p.orbit, p.ascending, p.part))
        first, last = _period(query)
        if len(slices) * max((last - first) / DAY_MS / 12, 1) > 2 * _LIMIT:
            raise QueryTooLarge(f"{len(slices)} radar passes over the region give more than {_LIMIT} images")
        result = [self._image(acquisition) for piece in slices for acquisition in self._flights(piece, first, last)]
        if len(result) > _LIMIT:
            raise QueryTooLarge(f"the query gives {len(result)} images, more than {_LIMIT}")
        return sorted(result, key=lambda image: str(image.properties["system:index"]))

    def named(self, index: str) -> StoredImage | None:
        """The image with a system:index such as S1A_IW_GRDH_1SDV_20190604T..., or None."""
        parts = index.split("_")
        try:
            satellite, absolute, unique = parts[0], int(parts[6]), int(parts[8], 16)
        except (IndexError, ValueError):
            return None
        cycle, orbit = divmod(absolute - (73 if satellite == "S1A" else 27), _ORBITS)
        code = unique ^ (hash_int(absolute) & 0xFF00)
        piece = Slice(orbit + 1, bool(code & 1), (code >> 1) - 64)
        if abs(piece.part) > 55 or not self._planned(piece):
            return None
        acquisition = self._flight(piece, satellite, cycle)
        image = self._image(acquisition) if acquisition else None
        return image if image and image.properties["system:index"] == index else None

    def _slices(self, region: BaseGeometry, passes: list[bool]) -> Iterator[Slice]:
        seen: set[Slice] = set()
        for box in lonlat_boxes(region):
            for ascending in passes:
                for piece in _candidates(*box, ascending):
                    if piece in seen:
                        continue
                    seen.add(piece)
                    if len(seen) > 3000:
                        raise QueryTooLarge("the region touches more than 3,000 radar swath slices")
                    if self._planned(piece) and touches(outline_of(piece).footprint, region):
                        yield piece

    def _is_planned(self, piece: Slice) -> bool:
        """Whether the slice has land and is in the observation plan: both passes, one of them, or (rarely) none."""
        outline = outline_of(piece)
        if not self._world.has_land(outline.lon, outline.lat, 1.3):
            return False
        return self.plan(outline.lon, outline.lat)[0 if piece.ascending else 1]

    def plan(self, lon: float, lat: float) -> tuple[bool, bool]:
        """Whether the plan has (ascending, descending) passes at a location in degrees."""
        lonlat = np.array([lon]), np.array([lat])
        from_noise = self._noise.smooth(_unit_xyz(*lonlat), np.array([2.4e6, 1.1e6]), self._seed + np.array([700, 701]))
        value = float(from_noise[0, 0] * 0.8 + from_noise[1, 0] * 0.6)
        return -2.2 < value < 1.15, (value > -1.1 or value < -2.2) and not -2.2 < value < -1.95

    def _flights(self, piece: Slice, first_ms: int, last_ms: int) -> Iterator[Acquisition]:
        for satellite in ("S1A", "S1B"):
            low = int((first_ms // DAY_MS - _EPOCH) // _CYCLE_DAYS) - 2
            high = int((last_ms // DAY_MS - _EPOCH) // _CYCLE_DAYS) + 1
            for cycle in range(max(low, 0), high + 1):
                acquisition = self._flight(piece, satellite, cycle)
                if acquisition and first_ms <= acquisition.start_ms < last_ms:
                    yield acquisition

    def _flight(self, piece: Slice, satellite: str, cycle: int) -> Acquisition | None:
        second = satellite == "S1B"
        day = _EPOCH + cycle * _CYCLE_DAYS + (piece.orbit - 1) * _CYCLE_DAYS // _ORBITS + (6 if second else 0)
        if not _EPOCH <= day <= _LAST_DAY or (second and not _B_DAYS[0] <= day < _B_DAYS[1]):
            return None
        # Outside Europe, a large part of the world is covered by one satellite only.
        if second and hash_unit(self._seed, piece.orbit, int(piece.ascending), piece.part // 8, 51) < 0.55:
            return None
        if hash_unit(self._seed, piece.orbit, int(piece.ascending), piece.part, cycle, int(second)) < 0.04:
            return None
        local_h = (18.0 if piece.ascending else 6.0) - outline_of(piece).lon / 15
        start = day * DAY_MS + round((local_h % 24) * 3.6e6) + piece.part * 26_000
        return Acquisition(piece, satellite, cycle, start)

    def _image(self, acquisition: Acquisition) -> StoredImage:
        outline = outline_of(acquisition.slice)
        polarisations = _polarisations(acquisition, outline.lat)
        properties = _properties(acquisition, polarisations)
        asset_id = f"{COLLECTION}/{properties['system:index']}"
        make = partial(self._bands, acquisition, outline, polarisations)
        return LazyImage(asset_id, properties, outline.footprint, make)

    def _bands(self, acquisition: Acquisition, outline: Outline, names: tuple[str, ...]) -> tuple[PlanetBand, ...]:
        f64, lattice = np.dtype(np.float64), outline.extent.lattice
        bands = [
            PlanetBand(name, f64, outline.extent, partial(self._backscatter, acquisition, name, lattice))
            for name in names
        ]
        angle = PlanetBand(
            "angle", np.dtype(np.float32), outline.extent, partial(self._angle, acquisition, outline, lattice)
        )
        return (*bands, angle)

    def _backscatter(
        self, acquisition: Acquisition, name: str, lattice: Lattice, window: Window
    ) -> tuple[Values, Valid | None]:
        echo = self._echo(acquisition, lattice, window)
        cross = int(name in ("VH", "HV"))
        db = _TABLE[cross].take(echo.material)
        if name[0] == "H":
            db += np.float32(0.6 if cross == 0 else -1.6)
        for part in echo.parts_db:
            db += part
        db += np.float32(1.6 * (hash_unit(acquisition.key, 8) - 0.5))
        word = byte_noise(acquisition.key % (1 << 40) + cross, window)
        word >>= np.uint32(7)
        word &= np.uint32(4095)
        db += _SPECKLE.take(word)
        return db.astype(np.float64), echo.valid

    def _make_echo(self, acquisition: Acquisition, lattice: Lattice, window: Window) -> Echo:
        outline = outline_of(acquisition.slice)
        ground = self._surface.ground(lattice, window)
        season = season_of(ground, phase_after_midwinter(year_phase(acquisition.start_ms), outline.epsg >= 32700))
        green = season.green
        green -= np.float32(0.4)
        green *= _GREENING.take(ground.material)
        snow = [] if season.snow is None else [-np.float32(2.0) * season.snow]
        # Right-looking: ascending passes look east, descending ones west; slopes that face the radar are brighter.
        facing = ground.east * np.float32(-13 if acquisition.slice.ascending else 13)
        np.clip(facing, -7, 7, out=facing)
        patchy = _PATCHY.take(ground.material)
        patchy *= ground.fine
        return Echo(ground.material, (green, *snow, facing, patchy), _inside(outline, lattice, window))

    def _angle(
        self, acquisition: Acquisition, outline: Outline, lattice: Lattice, window: Window
    ) -> tuple[Values, Valid | None]:
        """Incidence angle in degrees, from 30.5 at near range to 46 at far range."""
        x = lattice.x0 + (np.arange(window.column, window.column + window.width) + 0.5) * lattice.dx
        y = lattice.y0 + (np.arange(window.row, window.row + window.height) + 0.5) * lattice.dy
        corners = np.array(outline.corners_m)
        t = (y - corners[0, 1]) / (corners[1, 1] - corners[0, 1])
        near = corners[0, 0] + (corners[1, 0] - corners[0, 0]) * t
        far = corners[3, 0] + (corners[2, 0] - corners[3, 0]) * t
        across = (x[None, :] - near[:, None]) / (far - near)[:, None]
        across = across if acquisition.slice.ascending else 1 - across
        return (30.5 + 15.5 * np.clip(across, 0, 1)).astype(np.float32), _inside(outline, lattice, window)


def _unit_xyz(lon: F64, lat: F64) -> F64:
    from_axis = np.cos(np.radians(lat))
    return 6.371e6 * np.stack(
        [from_axis * np.cos(np.radians(lon)), from_axis * np.sin(np.radians(lon)), np.sin(np.radians(lat))]
    )


def _candidates(west: float, south: float, east: float, north: float, ascending: bool) -> Iterator[Slice]:
    nodes = np.array([_node(orbit, ascending) for orbit in range(1, _ORBITS + 1)])
    for part in range(-52, 52):
        corners = _relative_corners(ascending, part)
        low, high = corners.min(axis=0), corners.max(axis=0)
        if high[1] < south or low[1] > north or abs(corners[:, 1]).max() > 80.5:
            continue
        away = (nodes + high[0] - west) % 360
        for k in np.nonzero(away <= (east - west) + (high[0] - low[0]))[0]:
            yield Slice(int(k) + 1, ascending, part)


def _period(query: Query) -> tuple[int, int]:
    first = query.start_ms if query.start_ms is not None else _EPOCH * DAY_MS
    last = query.end_ms if query.end_ms is not None else (_LAST_DAY + 2) * DAY_MS
    return max(first, _EPOCH * DAY_MS), min(last, (_LAST_DAY + 2) * DAY_MS)


def _polarisations(acquisition: Acquisition, lat: float) -> tuple[str, ...]:
    polar = hash_unit(acquisition.slice.orbit, acquisition.slice.part, 5) < np.clip((abs(lat) - 62) / 12, 0, 0.97)
    single = hash_unit(acquisition.key, 6) < 0.04
    names = ("HH", "HV") if polar else ("VV", "VH")
    return names[:1] if single else names


_MODES = {("VV", "VH"): "DV", ("HH", "HV"): "DH", ("VV",): "SV", ("HH",): "SH"}


def _properties(acquisition: Acquisition, names: tuple[str, ...]) -> dict[str, object]:
    start, end = stamp(acquisition.start_ms), stamp(acquisition.start_ms + 25_000)
    absolute = acquisition.absolute_orbit
    code = ((acquisition.slice.part + 64) << 1 | int(acquisition.slice.ascending)) ^ (hash_int(absolute) & 0xFF00)
    take = hash_int(absolute, 2) & 0x3FFFF
    index = f"{acquisition.satellite}_IW_GRDH_1S{_MODES[names]}_{start}_{end}_{absolute:06d}_{take:06X}_{code:04X}"
    return {
        "system:index": index,
        "system:time_start": acquisition.start_ms,
        "system:time_end": acquisition.start_ms + 25_000,
        "instrumentMode": "IW",
        "instrumentSwath": "IW",
        "orbitProperties_pass": "ASCENDING" if acquisition.slice.ascending else "DESCENDING",
        "relativeOrbitNumber_start": acquisition.slice.orbit,
        "relativeOrbitNumber_stop": acquisition.slice.orbit,
        "orbitNumber_start": absolute,
        "cycleNumber": acquisition.cycle,
        "sliceNumber": acquisition.slice.part + 64,
        "transmitterReceiverPolarisation": list(names),
        "platform_number": acquisition.satellite[-1],
        "familyName": "SENTINEL-1",
        "productType": "GRD",
        "resolution": "H",
        "resolution_meters": 10,
    }


def _inside(outline: Outline, lattice: Lattice, window: Window) -> Valid | None:
    """Which pixels are in the slice, on the inner side of its four straight edges (None: all)."""
    corners = np.array(outline.corners_m)
    middle = corners.mean(axis=0)
    x = lattice.x0 + (np.arange(window.column, window.column + window.width) + 0.5) * lattice.dx - middle[0]
    y = lattice.y0 + (np.arange(window.row, window.row + window.height) + 0.5) * lattice.dy - middle[1]
    valid: Valid | None = None
    for a, b in zip(corners - middle, np.roll(corners - middle, -1, axis=0), strict=True):
        normal = np.array([a[1] - b[1], b[0] - a[0]])
        normal *= -np.sign(normal @ a)
        limit = normal @ a
        farthest = max(normal[0] * x[0], normal[0] * x[-1]) + max(normal[1] * y[0], normal[1] * y[-1])
        # The normal points to the centre, where the product is 0; at the edge it is negative.
        nearest = min(normal[0] * x[0], normal[0] * x[-1]) + min(normal[1] * y[0], normal[1] * y[-1])
        if nearest >= limit:
            continue
        side = normal[0] * x[None, :] + normal[1] * y[:, None] >= limit
        valid = side if valid is None else valid & side
        if farthest < limit:
            break
    return valid
