"""The header that makes a Parquet file GeoParquet: what QGIS, GDAL and GeoPandas read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pyproj import CRS

_VERSION = "1.0.0"  # https://geoparquet.org/releases/v1.0.0


def geo_header(geometry_type: str, bbox: Sequence[float] | None) -> dict[str, str]:
    """Metadata of a schema whose column `geometry` is WKB in longitude and latitude, degrees.

    `bbox` is west, south, east, north; None for no rows.
    """
    column: dict[str, Any] = {"encoding": "WKB", "geometry_types": [geometry_type]}
    if bbox is not None:
        column["bbox"] = list(bbox)
    column["crs"] = CRS.from_epsg(4326).to_json_dict()
    return {"geo": json.dumps({"version": _VERSION, "primary_column": "geometry", "columns": {"geometry": column}})}
