"""How much of each pixel the owner's polygon covers: computed here, exactly, from the outline in the manifest."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from exporters.sources import Local
from pipeline.chip import Chip
from pipeline.grid import Grid, to_crs
from pipeline.licence import OWN
from pipeline.modality import Band, Display, Modality
from pipeline.own_columns import OUTLINE_NAME

_MARGIN_DEG = 0.01
# Edges are straight in degrees; in metres, pieces of this length bend by less than a centimetre.
_EDGE_DEG = 0.005


def _without_polygon(chip: Chip) -> str | None:
    return None if chip.own.get(OUTLINE_NAME) else "the place has no polygon"


def _percent(chip: Chip) -> NDArray[np.float64]:
    return covered_percent(shapely.from_wkb(chip.own[OUTLINE_NAME]), chip.grid)[None]


def covered_percent(outline: shapely.Geometry, grid: Grid) -> NDArray[np.float64]:
    """The covered part of every pixel (y, x) float64, 0 to 100, for an outline in degrees.

    Its longitudes run on across the antimeridian.
    """
    polygon = _in_plane(outline, grid)
    left, _, _, top = grid.bounds_xy
    height, width = grid.shape_yx
    x, y = (left + np.arange(width) * grid.resolution_m, top - np.arange(height) * grid.resolution_m)
    pixels = shapely.box(x[None], y[:, None] - grid.resolution_m, x[None] + grid.resolution_m, y[:, None])
    shapely.prepare(polygon)
    whole = shapely.contains_properly(polygon, pixels)
    part = shapely.intersects(polygon, pixels) & ~whole
    percent = np.where(whole, 100.0, 0.0)
    percent[part] = shapely.area(shapely.intersection(polygon, pixels[part])) / grid.resolution_m**2 * 100
    return percent


def _in_plane(outline: shapely.Geometry, grid: Grid) -> shapely.Geometry:
    """The part of the outline near the grid, in its metres."""
    west, south, east, north = grid.footprint().bounds
    near = shapely.box(west - _MARGIN_DEG, south - _MARGIN_DEG, east + _MARGIN_DEG, north + _MARGIN_DEG)
    turned = [shapely.intersection(_turned(outline, turn_deg), near) for turn_deg in (-360.0, 0.0, 360.0)]
    here = shapely.segmentize(shapely.union_all(turned), _EDGE_DEG)
    polygon = shapely.transform(here, lambda lonlat: np.column_stack(to_crs(grid.crs).transform(*lonlat.T)))
    return polygon if shapely.is_valid(polygon) else shapely.make_valid(polygon)


def _turned(outline: shapely.Geometry, turn_deg: float) -> Any:
    return shapely.transform(outline, lambda lonlat: lonlat + [turn_deg, 0.0])


polygon_share = Modality(
    name="polygon_share",
    title="Share of the pixel that the place's polygon covers",
    bands=(Band("share", "%"),),
    dtype="uint8",
    nodata=255,
    valid_range=(0, 100),
    display=Display("grey", ("share",), 0.0, 100.0),
    licence=OWN,
    source=Local(_percent, _without_polygon, needs=OUTLINE_NAME),
)
