"""The asset ids and properties of the scenes that chips are pinned to; defined only here."""

from __future__ import annotations

# Both are HARMONIZED: the offset of +1000 DN that baseline 04.00 introduced is removed.
# https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_S2_SR_HARMONIZED
OPTICAL = {"l2a": "COPERNICUS/S2_SR_HARMONIZED", "l1c": "COPERNICUS/S2_HARMONIZED"}
# https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_S1_GRD (dB, terrain corrected)
RADAR = "COPERNICUS/S1_GRD"
CLOUD_PERCENT = "CLOUDY_PIXEL_PERCENTAGE"
TILE = "MGRS_TILE"
ORBIT_PASS = "orbitProperties_pass"  # noqa: S105 - a property's name
INSTRUMENT_MODE = "instrumentMode"
LAND_MODE = "IW"
