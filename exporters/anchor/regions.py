"""The table of regions that sampling draws from, read from Earth Engine page by page and kept as GeoParquet."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ee
import geopandas as gpd
import shapely.geometry

from exporters.earth_engine.client import EarthEngine
from pipeline import durable
from pipeline.errors import Fatal, Missing

RESOLVE = "RESOLVE/ECOREGIONS/2017"
COLUMNS = ("ECO_NAME", "BIOME_NUM", "BIOME_NAME", "REALM", "ECO_ID")
# Two hundred outlines as they are make an answer of 72 to 92 MB, and Earth Engine's limit is "tens of megabytes"
# (developers.google.com/earth-engine/guides/processing_environments).
_PAGE = 25
# An outline may be off by a hundredth of the side of a square of its area, and by 100 m, a thirteenth of a chip.
_MOST_OFF_M, _SHARE_OFF = 100.0, 0.01
_LEAST_OFF_M, _AREA_ERROR_M = 0.01, 1.0


def read_regions(engine: EarthEngine, asset_id: str, cache: Path) -> gpd.GeoDataFrame:
    """Regions with the columns of RESOLVE Ecoregions 2017 and their outlines in EPSG:4326, off by up to 100 m.

    Earth Engine simplifies the outlines, and a few are read at a time: as they are, they take gigabytes. The table is
    asked for once; afterwards `cache` answers. Raises `Fatal` when there is no such table or it lacks a column.
    """
    with contextlib.suppress(OSError, ValueError):  # absent, or damaged: then it is asked for again
        return gpd.read_parquet(cache)
    table = ee.FeatureCollection(asset_id).select(list(COLUMNS)).map(_simplified)
    try:
        frame = _frame(engine.features(table, _PAGE))
    except Missing as error:
        raise Fatal(f"the region table {asset_id} is not there ({error}); correct sampling.regions.") from error
    absent = [name for name in COLUMNS if name not in frame.columns or frame[name].isna().all()]
    if absent:
        raise Fatal(f"the region table {asset_id} lacks the columns {', '.join(absent)}; name one that has them.")
    regions = frame[[*COLUMNS, "geometry"]].dropna(subset=["geometry"]).reset_index(drop=True)
    durable.publish(cache, lambda temporary: regions.to_parquet(temporary, index=False))
    return regions


def _simplified(feature: ee.Feature) -> ee.Feature:
    side_m = ee.Number(feature.area(_AREA_ERROR_M)).sqrt()
    off_m = side_m.multiply(_SHARE_OFF).min(_MOST_OFF_M).max(_LEAST_OFF_M)
    return feature.simplify(ee.ErrorMargin(off_m))


def _frame(features: Iterable[dict[str, Any]]) -> gpd.GeoDataFrame:
    """The features as a table; of each only its coordinates and properties are kept, so that memory is bounded."""
    properties, outlines = [], []
    for feature in features:
        properties.append(feature["properties"])
        outlines.append(shapely.geometry.shape(feature["geometry"]) if feature.get("geometry") else None)
    return gpd.GeoDataFrame(properties, geometry=outlines, crs="EPSG:4326")
