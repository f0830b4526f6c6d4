#!/usr/bin/env bash
# rasterio 1.4.4 (its wheel's GDAL 3.10.3), rasters of 64-bit integers with a nodata value, written and read back.
# Expected: the value, or an error, as for other types. Seen, without a warning:
# - by driver="COG" the nodata value is lost (int64 and uint64; of 32 bits and float64 it stays), so that nodata becomes
#   data; the same by driver="GTiff" keeps it;
# - by driver="GTiff" the lowest int64, -9223372036854775808, comes back as -9.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/python -m pip install --quiet rasterio==1.4.4 numpy==2.4.6

cat >look.py <<'PY'
import numpy as np
import rasterio
from rasterio.transform import from_origin

GRID = {"width": 64, "height": 64, "count": 1, "crs": "EPSG:32633", "transform": from_origin(0, 0, 10, 10)}


def read_back(driver, dtype, nodata):
    with rasterio.open("a.tif", "w", driver=driver, dtype=dtype, nodata=nodata, **GRID) as raster:
        raster.write(np.full((64, 64), 3, dtype), 1)
    with rasterio.open("a.tif") as raster:
        return raster.nodata


for dtype, nodata in [("uint32", 7), ("float64", -7), ("int64", -7), ("uint64", 7), ("int64", -(2**63))]:
    print(dtype, nodata, *(f"{driver} {read_back(driver, dtype, nodata)}" for driver in ("GTiff", "COG")))
PY
venv/bin/python -W ignore look.py | tee seen
grep -qx "uint32 7 GTiff 7.0 COG 7.0" seen && grep -qx "float64 -7 GTiff -7.0 COG -7.0" seen
grep -qx "int64 -7 GTiff -7.0 COG None" seen && grep -qx "uint64 7 GTiff 7.0 COG None" seen
grep -qx "int64 -9223372036854775808 GTiff -9.0 COG None" seen
# Output seen:
#   uint32 7 GTiff 7.0 COG 7.0
#   float64 -7 GTiff -7.0 COG -7.0
#   int64 -7 GTiff -7.0 COG None
#   uint64 7 GTiff 7.0 COG None
#   int64 -9223372036854775808 GTiff -9.0 COG None
