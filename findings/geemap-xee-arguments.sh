#!/usr/bin/env bash
# geemap and Xee in the releases that pip installs together: geemap.ee_to_xarray of a collection.
# Expected: an xarray data set, or a word on the release of Xee that it needs. Seen: geemap 0.37.2 hands `scale`,
# `projection` and `geometry` to xarray.open_dataset whatever they are, which Xee 0.1.2 no longer knows (it wants
# crs_transform and shape_2d): every call is a TypeError, before Earth Engine is asked. No account is needed for that.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet geemap==0.37.2 xee==0.1.2 xarray==2026.9.0 earthengine-api==1.7.50

cat >look.py <<'PY'
import geemap

try:
    geemap.ee_to_xarray("COPERNICUS/S2_SR_HARMONIZED", crs="EPSG:4326", ee_initialize=False)
except TypeError as error:
    print(error)
PY
venv/bin/python -W ignore look.py 2>/dev/null | tee seen
grep -qx "EarthEngineBackendEntrypoint.open_dataset() got an unexpected keyword argument 'scale'" seen
# Output seen:
#   EarthEngineBackendEntrypoint.open_dataset() got an unexpected keyword argument 'scale'
