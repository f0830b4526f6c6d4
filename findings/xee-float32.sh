#!/usr/bin/env bash
# Xee, bands of 32-bit integers and of doubles: the types that data sets get for them.
# Expected: int32 and float64, as `ee.Image.getInfo` says they are, or a warning. Seen: Xee 0.1.2 opens every band as
# float32, without a word, so that integers beyond 2**24 and the later digits of doubles are rounded: 16777217, a code of
# a country or a parcel, becomes 16777216. No account is needed: the description of a collection is given in its place.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet xee==0.1.2 xarray==2026.9.0 numpy==2.4.6 earthengine-api==1.7.50

cat >look.py <<'PY'
import numpy
from xee import ext

BANDS = [
    {"id": "code", "data_type": {"type": "PixelType", "precision": "int", "min": -(2**31), "max": 2**31 - 1}},
    {"id": "height", "data_type": {"type": "PixelType", "precision": "double"}},
]


class Described(ext.EarthEngineStore):
    get_info = {"size": 1, "props": {}, "first": {"bands": BANDS, "properties": {}}, "properties": [["a"], [0]]}


store = Described(None, crs="EPSG:4326", crs_transform=(1, 0, 0, 0, -1, 0), shape_2d=(1, 1))
for band, value in (("code", 16777217), ("height", 7.123456789)):
    array = ext.EarthEngineBackendArray(band, store)
    print(band, array.dtype, repr(numpy.array(value).astype(array.dtype).item()))
PY
venv/bin/python -W ignore look.py | tee seen
grep -qx "code float32 16777216.0" seen && grep -qx "height float32 7.123456954956055" seen
# Output seen:
#   code float32 16777216.0
#   height float32 7.123456954956055
