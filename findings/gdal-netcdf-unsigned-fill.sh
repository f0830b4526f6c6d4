#!/usr/bin/env bash
# rasterio 1.4.4 (its wheel's GDAL 3.10.3), netCDF with 16-bit numbers under `_Unsigned = "true"` and no `_FillValue`, as
# WorldCereal's inputs are written.
# Expected: no nodata, as netCDF4 1.7.4 and xarray 2026.4.0 have it: 32769 is a number like any other.
# Seen: GDAL takes netCDF's default fill of *signed* shorts (-32767) for nodata and turns its bits into 32769: a pixel of
# 32769 is masked, and 65535, which those files mean by nodata, is data.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/python -m pip install --quiet rasterio==1.4.4 netCDF4==1.7.4 xarray==2026.4.0 numpy==2.3.5

cat >look.py <<'PY'
import netCDF4
import numpy as np
import rasterio
import xarray

numbers = np.array([[3, 32769, 65535]], "uint16")
with netCDF4.Dataset("a.nc", "w") as file:
    file.createDimension("y", 1)
    file.createDimension("x", 3)
    band = file.createVariable("band", "i2", ("y", "x"))
    band.set_auto_maskandscale(False)
    band.setncattr("_Unsigned", "true")
    band[:] = numbers.view("int16")
with rasterio.open("a.nc") as raster:
    print("rasterio", raster.dtypes[0], "nodata", raster.nodata, "valid", (raster.read_masks(1)[0] > 0).tolist())
with netCDF4.Dataset("a.nc") as file:
    print("netCDF4 valid", (~np.ma.getmaskarray(file["band"][0])).tolist())
with xarray.open_dataset("a.nc", engine="netcdf4") as data:
    print("xarray", data.band.dtype, data.band.values[0].tolist())
PY
venv/bin/python -W ignore look.py | tee seen
grep -qx "rasterio uint16 nodata 32769.0 valid \[True, False, True\]" seen
grep -qx "netCDF4 valid \[True, True, True\]" seen
grep -qx "xarray uint16 \[3, 32769, 65535\]" seen
# Output seen:
#   rasterio uint16 nodata 32769.0 valid [True, False, True]
#   netCDF4 valid [True, True, True]
#   xarray uint16 [3, 32769, 65535]
