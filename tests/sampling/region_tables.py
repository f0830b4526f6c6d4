"""Small region tables with RESOLVE's columns, for the sampling tests."""

from pathlib import Path

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from shapely import Geometry, Polygon, box

from sampling.candidates import Stream
from sampling.regions import Regions, prepare_regions

REAL = Path(__file__).parents[3] / "shared" / "data" / "ecoregions" / "Ecoregions2017.shp"


def table(polygons: list[Polygon], biomes: list[int] | None = None, crs: str | None = "EPSG:4326") -> gpd.GeoDataFrame:
    """One row per polygon; ECO_ID counts from 1."""
    numbers = biomes or [1] * len(polygons)
    columns = {
        "ECO_NAME": [f"region {row + 1}" for row in range(len(polygons))],
        "BIOME_NUM": numbers,
        "BIOME_NAME": [f"biome {number}" for number in numbers],
        "REALM": ["Nowhere"] * len(polygons),
        "ECO_ID": list(range(1, len(polygons) + 1)),
    }
    return gpd.GeoDataFrame(columns, geometry=polygons, crs=crs)


def regions(polygons: list[Polygon], biomes: list[int] | None = None) -> Regions:
    """The checked table."""
    return prepare_regions(table(polygons, biomes), "a table")


def strips(widths_deg: list[float], biomes: list[int] | None = None) -> Regions:
    """Boxes side by side along the equator, as wide as told."""
    edges = [sum(widths_deg[:index]) - 170 for index in range(len(widths_deg) + 1)]
    return regions([box(left, 0, right, 1) for left, right in zip(edges, edges[1:], strict=False)], biomes)


def draw_in(polygon: Geometry, count: int, seed: int, stratum: str) -> NDArray[np.float64]:
    """The first `count` candidates (count, 2) of a stratum, lon and lat in degrees."""
    return Stream(polygon, seed, stratum).take(count)
