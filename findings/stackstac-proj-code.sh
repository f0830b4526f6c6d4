#!/usr/bin/env bash
# stackstac and pystac, items whose CRS is in `proj:epsg` (projection extension 1) or `proj:code` (2.0, which took the
# first away). Expected: the items' own grid, two images of 64 by 64 pixels side by side, 64 by 128. Seen: stackstac 0.5.1
# knows `proj:epsg` alone. Of items with `proj:code` it says that they have no CRS; told one with `epsg=`, it takes the
# grid from the outline in degrees, 66 by 129 pixels, so every value is resampled off its pixel, without a word. Items of
# the old kind work as dictionaries, and no longer once pystac 1.15.2 has read them: it writes them anew with `proj:code`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet stackstac==0.5.1 pystac==1.15.2 rasterio==1.4.4 numpy==2.4.6 xarray==2026.9.0 \
  pandas==2.3.3 dask==2026.8.0

cat >look.py <<'PY'
import os

import numpy
import pystac
import rasterio
import stackstac
from rasterio.transform import from_origin
from rasterio.warp import transform_bounds

CODE = "EPSG:32632"
EXTENSION = "https://stac-extensions.github.io/projection/{}/schema.json"


def item(name, left, extension, crs):
    path, to_map = os.path.abspath(f"{name}.tif"), from_origin(left, 5_000_000, 10, 10)
    profile = {"driver": "GTiff", "width": 64, "height": 64, "count": 1, "dtype": "uint16", "crs": CODE}
    with rasterio.open(path, "w", **profile, transform=to_map) as file:
        file.write(numpy.arange(64 * 64, dtype="uint16").reshape(1, 64, 64))
        west, south, east, north = transform_bounds(CODE, "EPSG:4326", *file.bounds)
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    own = {"proj:shape": [64, 64], "proj:transform": list(to_map)[:6]}
    return {
        "type": "Feature", "stac_version": "1.0.0", "stac_extensions": [EXTENSION.format(extension)], "id": name,
        "bbox": [west, south, east, north], "geometry": {"type": "Polygon", "coordinates": [ring]}, "links": [],
        "properties": {"datetime": "2020-06-01T00:00:00Z", **crs, **own},
        "assets": {"image": {"href": path, "type": "image/tiff; application=geotiff", "roles": ["data"]}},
    }


def two(name, extension, crs):
    return [item(f"{name}{k}", 500_000 + 640 * k, extension, crs) for k in range(2)]


def said(items, **more):
    try:
        return stackstac.stack(items, assets=["image"], resolution=10, **more).shape[-2:]
    except ValueError as error:
        return str(error).splitlines()[0]


old, new = two("old", "v1.1.0", {"proj:epsg": 32632}), two("new", "v2.0.0", {"proj:code": CODE})
print("proj:epsg:", said(old))
print("proj:epsg, read by pystac:", said([pystac.Item.from_dict(each) for each in old]))
print("proj:code:", said(new))
print("proj:code, told its CRS:", said(new, epsg=32632))
PY
venv/bin/python -W ignore look.py | tee seen
no_crs="Cannot pick a common CRS, since asset 'image' of item 0"
grep -qx "proj:epsg: (64, 128)" seen && grep -q "^proj:epsg, read by pystac: $no_crs" seen &&
  grep -q "^proj:code: $no_crs" seen && grep -qx "proj:code, told its CRS: (66, 129)" seen
# Output seen:
#   proj:epsg: (64, 128)
#   proj:epsg, read by pystac: Cannot pick a common CRS, since asset 'image' of item 0 'old0' does not have one.
#   proj:code: Cannot pick a common CRS, since asset 'image' of item 0 'new0' does not have one.
#   proj:code, told its CRS: (66, 129)
