"""The header that makes a Parquet file GeoParquet: what QGIS, GDAL and GeoPandas read."""

from __future__ import annotations

import json
from typing import Any

from pyproj import CRS

_VERSION = "1.0.0"  # https://geoparquet.org/releases/v1.0.0


WGS84: dict[str, Any] = CRS.from_epsg(4326).to_json_dict()


def geo_header(geometry_type: str, **facts: Any) -> dict[str, str]:
    """Metadata of a schema whose column `geometry` is WKB in longitude and latitude, degrees.

    `facts` are `crs` and, for a table with rows, `bbox` (west, south, east, north). They are written in this order, as
    equal tables must stay equal bytes.
    """
    column = {"encoding": "WKB", "geometry_types": [geometry_type], **facts}
    return {"geo": json.dumps({"version": _VERSION, "primary_column": "geometry", "columns": {"geometry": column}})}
