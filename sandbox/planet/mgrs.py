"""Sentinel-2's tiling: 109.8 km tiles over the 100 km squares of the Military Grid Reference System.

Letters and origins are those of the Sentinel-2 tiling grid (kml of the ESA product page). The wider zones of Norway
and Svalbard are not included, and a square in two latitude bands has one tile, named after its centre.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from shapely.geometry import Polygon

from sandbox.planet.geodesy import central_meridian, epsg_of, lonlat_from_utm, utm_from_lonlat
from sandbox.planet.lattice import utm_lattice
from sandbox.planet.raster import Extent, extent_of

TILE_M = 109_800.0
_COLUMNS = ("ABCDEFGH", "JKLMNPQR", "STUVWXYZ")
_ROWS = "ABCDEFGHJKLMNPQRSTUV"
_BANDS = "CDEFGHJKLMNPQRSTUVWX"
_SOUTH, _NORTH = -56.5, 83.4


@dataclass(frozen=True)
class Tile:
    """A tile, by its zone's EPSG code and the easting and northing of its square in units of 100 km."""

    epsg: int
    east: int
    north: int

    @property
    def origin_m(self) -> tuple[float, float]:
        """Upper left corner: multiples of 60 m at or just outside the square's corner."""
        return float(self.east * 100_000 // 60 * 60), float(-(-(self.north + 1) * 100_000 // 60) * 60)

    @property
    def name(self) -> str:
        """Five characters such as 32TQM."""
        zone = self.epsg % 100
        row = (self.north + (5 if zone % 2 == 0 else 0)) % 20
        _, lat = centre_of(self)
        band = _BANDS[min(int((lat + 80) // 8), 19)]
        return f"{zone:02d}{band}{_COLUMNS[(zone - 1) % 3][self.east - 1]}{_ROWS[row]}"

    def extent(self, pixel_m: int) -> Extent:
        return _extent(self, pixel_m)


@lru_cache(maxsize=4096)
def _extent(tile: Tile, pixel_m: int) -> Extent:
    left, top = tile.origin_m
    return extent_of(utm_lattice(tile.epsg, pixel_m), left, top, TILE_M, TILE_M)


@lru_cache(maxsize=65536)
def centre_of(tile: Tile) -> tuple[float, float]:
    """Longitude and latitude of the square's centre, degrees."""
    lon, lat = lonlat_from_utm(np.array([tile.east * 1e5 + 5e4]), np.array([tile.north * 1e5 + 5e4]), tile.epsg)
    return float((lon[0] + 180) % 360 - 180), float(lat[0])


@lru_cache(maxsize=65536)
def is_tile(tile: Tile) -> bool:
    """Whether the square overlaps its own zone and hemisphere, between the mission's latitudes."""
    if not 1 <= tile.east <= 8:
        return False
    if tile.north < 0 if tile.epsg < 32700 else tile.north > 99:
        return False
    x = (tile.east + np.array([0.0, 1, 0, 1, 0.5])) * 1e5
    y = (tile.north + np.array([0.0, 0, 1, 1, 0.5])) * 1e5
    lon, lat = lonlat_from_utm(x, y, tile.epsg)
    near = np.abs(lon - central_meridian(tile.epsg)).min() < 3
    return bool(near and _SOUTH < lat[4] < _NORTH)


def tile_named(name: str) -> Tile | None:
    """The tile of a five-character name, or None if it does not exist."""
    if len(name) != 5 or not name[:2].isdigit() or name[2] not in _BANDS or name[4] not in _ROWS:
        return None
    zone = int(name[:2])
    letters = _COLUMNS[(zone - 1) % 3]
    if not 1 <= zone <= 60 or name[3] not in letters:
        return None
    north = _BANDS.index(name[2]) >= 10
    row = (_ROWS.index(name[4]) - (5 if zone % 2 == 0 else 0)) % 20
    # Rows repeat every 2,000 km, about 18 degrees: the one nearest to the middle of the latitude band.
    middle = (_BANDS.index(name[2]) * 8 - 76) * 1.11 + (0 if north else 100)
    tile = Tile(epsg_of(zone, north), letters.index(name[3]) + 1, row + 20 * round((middle - row) / 20))
    return tile if is_tile(tile) and tile.name == name else None


def tiles_in(west: float, south: float, east: float, north: float) -> Iterator[Tile]:
    """Tiles that may intersect a box in degrees (a few do not); a box may cross the antimeridian."""
    absolute = min(max(abs(south), abs(north)) + 1.0, 84.5)
    reach = 1.05 / np.cos(np.radians(absolute)) + 0.05
    first, last = int((west - reach + 180) // 6), int((east + reach + 180) // 6)
    for zone in range(first, min(last, first + 59) + 1):
        middle = zone * 6 - 177.0
        a, b = max(west, middle - 3 - reach), min(east, middle + 3 + reach)
        if a > b:
            continue
        for hemisphere in (True, False):
            if north < -1.0 if hemisphere else south > 0.2:
                continue
            yield from _tiles_of(epsg_of(zone % 60 + 1, hemisphere), a, south, b, north)


def _tiles_of(epsg: int, west: float, south: float, east: float, north: float) -> Iterator[Tile]:
    lon, lat = np.meshgrid(np.linspace(west, east, 5), np.linspace(max(south, -80), min(north, 84.5), 5))
    x, y = utm_from_lonlat(lon, lat, epsg)
    # A tile extends 9.8 km beyond its square, to the east and to the south.
    columns = range(int((x.min() - 9_900) // 1e5), int(x.max() // 1e5) + 2)
    rows = range(int(y.min() // 1e5) - 1, int((y.max() + 9_900) // 1e5) + 1)
    for column in columns:
        for row in rows:
            tile = Tile(epsg, column, row)
            if is_tile(tile):
                yield tile


def outline_of(tile: Tile) -> Polygon:
    """The tile's square in UTM metres."""
    left, top = tile.origin_m
    return Polygon([(left, top), (left + TILE_M, top), (left + TILE_M, top - TILE_M), (left, top - TILE_M)])
