"""The table of regions that sampling draws from, read from Earth Engine page by page and kept as GeoParquet."""

from __future__ import annotations

import contextlib
from pathlib import Path

import ee
import geopandas as gpd

from exporters.earth_engine.client import EarthEngine
from pipeline import durable
from pipeline.errors import Fatal, Missing

RESOLVE = "RESOLVE/ECOREGIONS/2017"
COLUMNS = ("ECO_NAME", "BIOME_NUM", "BIOME_NAME", "REALM", "ECO_ID")
_PAGE = 200


def read_regions(engine: EarthEngine, asset_id: str, cache: Path) -> gpd.GeoDataFrame:
    """Regions with the columns of RESOLVE Ecoregions 2017 and their outlines in EPSG:4326.

    Asked for once; afterwards `cache` answers. Raises `Fatal` when there is no such table or it lacks a column.
    """
    with contextlib.suppress(OSError, ValueError):  # absent, or damaged: then it is asked for again
        return gpd.read_parquet(cache)
    table = ee.FeatureCollection(asset_id).select(list(COLUMNS))
    try:
        features = list(engine.features(table, _PAGE))
    except Missing as error:
        raise Fatal(f"the region table {asset_id} is not there ({error}); correct sampling.regions.") from error
    frame = gpd.GeoDataFrame.from_features(features, crs="EPSG:4326")
    absent = [name for name in COLUMNS if name not in frame.columns or frame[name].isna().all()]
    if absent:
        raise Fatal(f"the region table {asset_id} lacks the columns {', '.join(absent)}; name one that has them.")
    regions = frame[[*COLUMNS, "geometry"]].dropna(subset=["geometry"]).reset_index(drop=True)
    durable.publish(cache, lambda temporary: regions.to_parquet(temporary, index=False))
    return regions
