"""Chips over the tiny Earth."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from pipeline.chip import Acquisition, Chip, Scene
from pipeline.grid import Grid
from pipeline.location import Location, location_id
from tests.exporters import tiny_earth

SIZE_PX = 12


def location(place: int = 0, stratum: str = "7", biome: int = 4) -> Location:
    """Points a kilometre apart, off the lattice."""
    lon, lat = tiny_earth.lonlat(620003.3 + 1000 * (place % 80), 5180007.7 - 1000 * (place // 80))
    return Location(location_id(lon, lat), lon, lat, stratum, biome, "Temperate", 664, "Somewhere", "Palearctic")


def chip(
    date: datetime,
    level: str = "l2a",
    ascending: datetime | None = None,
    descending: datetime | None = None,
    place: int = 0,
    row: int = 0,
) -> Chip:
    """A chip pinned to scenes of these dates, wherever such scenes are."""
    where = location(place)
    index = f"{date:%Y%m%dT%H%M%S}_{date:%Y%m%dT%H%M%S}_T{tiny_earth.TILE}"
    acquisition = Acquisition(
        Scene(f"{tiny_earth.OPTICAL[level]}/{index}", date), level,
        _radar(ascending, "ASCENDING"), _radar(descending, "DESCENDING"),
    )  # fmt: skip
    return Chip(where, Grid.around(where.lonlat, tiny_earth.CRS, SIZE_PX), acquisition, row=row)


def pixel_centres_xy(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """x of every column (width,) and y of every row (height,), metres, north first."""
    height, width = grid.shape_yx
    x = grid.origin_xy[0] + (np.arange(width) + 0.5) * grid.resolution_m
    y = grid.origin_xy[1] - (np.arange(height) + 0.5) * grid.resolution_m
    return x, y


def _radar(date: datetime | None, orbit_pass: str) -> Scene | None:
    return Scene(f"{tiny_earth.RADAR}/S1A_{date:%Y%m%dT%H%M%S}_{orbit_pass}", date) if date else None
