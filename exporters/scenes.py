"""The asset ids and properties of the scenes that chips are pinned to; defined only here."""

from __future__ import annotations

from pipeline.licence import YEARS, Licence

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
# Of optical and radar scenes alike. Regulation (EU) 1159/2013 has whoever passes them on name the source, and say that
# they were modified.
LICENCE = Licence(
    "Copernicus Sentinel data terms",
    "https://sentinels.copernicus.eu/documents/247904/690755/Sentinel_Data_Legal_Notice",
    f"Contains modified Copernicus Sentinel data {YEARS}.",
)
