#!/usr/bin/env bash
# TorchGeo 0.10.1 (torch 2.14.1, h5py 3.16.0; Python 3.12 or newer), its class `MMEarth` on a file of one tile as published:
# Sentinel-2 with the values 0 (the published nodata), 100, 200 and 300; biome 5 and ecoregion 7, as one-hot.
# Expected: no number for 0, numbers for the others; and the classes 5 and 7, or the whole one-hot rows.
# Seen, without a warning:
# - nodata is looked for after normalising: by min-max 0 stays a number and the smallest datum, 100, becomes NaN; by
#   z-score 0 stays a number and a datum that is the mean becomes NaN;
# - of biome and ecoregion the first number of the row alone is returned: 0, whatever the class.
# The whole of torch is installed, some gigabytes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet torchgeo==0.10.1 torch==2.14.1 h5py==3.16.0

cat >look.py <<'PY'
import json
from pathlib import Path

import h5py
import numpy as np
from torchgeo.datasets import MMEarth

stem = "data_1M_v001"
Path(stem).mkdir()
with h5py.File(f"{stem}/{stem}.h5", "w") as file:
    pixels = np.array([[0, 100], [200, 300]], "uint16")
    file["sentinel2"] = np.tile(pixels, (1, 13, 1, 1))
    file["biome"] = np.eye(14, dtype="uint8")[[5]]
    file["eco_region"] = np.eye(846, dtype="uint16")[[7]]
    file["metadata"] = np.array([(b"0", b"l2a")], [("tile_id", "S100"), ("S2_type", "S10")])
stats = {"mean": [200.0] * 13, "std": [100.0] * 13, "min": [100.0] * 13, "max": [300.0] * 13}
tile = {"S2_DATE": "2019-06-02", "S2_type": "l2a", "CRS": "EPSG:32632", "lat": 50.0, "lon": 9.0}
contents = {"band_stats": {"sentinel2_l2a": stats}, "splits": {"train": [0]}, "tile_info": {"0": tile}}
for what, content in contents.items():
    Path(f"{stem}/{stem}_{what}.json").write_text(json.dumps(content))
for mode in ("min-max", "z-score"):
    sample = MMEarth(".", modalities=["sentinel2", "biome", "eco_region"], normalization_mode=mode)[0]
    print(mode, sample["image_sentinel2"][0].flatten().tolist())
print("biome", sample["biome"].tolist(), "eco_region", sample["eco_region"].tolist())
PY
venv/bin/python -W ignore look.py | tee seen
grep -qx 'min-max \[-0.5, nan, 0.5, 1.0\]' seen && grep -qx 'z-score \[-2.0, -1.0, nan, 1.0\]' seen
grep -qx 'biome \[0\] eco_region \[0\]' seen
# Output seen:
#   min-max [-0.5, nan, 0.5, 1.0]
#   z-score [-2.0, -1.0, nan, 1.0]
#   biome [0] eco_region [0]
