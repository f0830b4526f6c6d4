#!/usr/bin/env bash
# GDAL of rasterio's wheels, a Zarr array of version 2 in float16 whose fill_value is "NaN", as the specification has it.
# Expected: the array, as of float32. Seen: GDAL 3.10.3 (rasterio 1.4.4) reads it; GDAL 3.12.2 (rasterio 1.5.2) refuses
# to open it, "Invalid fill_value", and opens the same array with a finite fill_value, and float32 with NaN.
# Needs Python 3.12 or 3.13 as python3, or named in PYTHON.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for version in 1.4.4 1.5.2; do
  "${PYTHON:-python3}" -m venv "venv-$version"
  "venv-$version/bin/python" -m pip install --quiet "rasterio==$version" numpy==2.4.6
done

cat >make.py <<'PY'
import json
import pathlib
import struct

for name, dtype, code, fill in [("half-nan", "<f2", "e", "NaN"), ("half-0", "<f2", "e", 0.0), ("single-nan", "<f4", "f", "NaN")]:
    folder = pathlib.Path(name)
    folder.mkdir()
    about = {"zarr_format": 2, "shape": [2, 2], "chunks": [2, 2], "dtype": dtype, "fill_value": fill, "order": "C",
             "filters": None, "compressor": None}
    (folder / ".zarray").write_text(json.dumps(about))
    (folder / "0.0").write_bytes(struct.pack(f"<4{code}", 1, 2, 3, 4))
PY
cat >look.py <<'PY'
import rasterio

for name in ("half-nan", "half-0", "single-nan"):
    try:
        with rasterio.open(f'ZARR:"{name}"') as array:
            print(rasterio.__gdal_version__, name, array.read(1).ravel().tolist())
    except rasterio.RasterioIOError as error:
        print(rasterio.__gdal_version__, name, error)
PY
"venv-1.4.4/bin/python" make.py
for version in 1.4.4 1.5.2; do "venv-$version/bin/python" -W ignore look.py; done | tee seen
grep -qx "3.10.3 half-nan \[1.0, 2.0, 3.0, 4.0\]" seen && grep -qx "3.12.2 half-nan Invalid fill_value" seen
grep -qx "3.12.2 half-0 \[1.0, 2.0, 3.0, 4.0\]" seen && grep -qx "3.12.2 single-nan \[1.0, 2.0, 3.0, 4.0\]" seen
# Output seen:
#   3.10.3 half-nan [1.0, 2.0, 3.0, 4.0]
#   3.10.3 half-0 [1.0, 2.0, 3.0, 4.0]
#   3.10.3 single-nan [1.0, 2.0, 3.0, 4.0]
#   3.12.2 half-nan Invalid fill_value
#   3.12.2 half-0 [1.0, 2.0, 3.0, 4.0]
#   3.12.2 single-nan [1.0, 2.0, 3.0, 4.0]
