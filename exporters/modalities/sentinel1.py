"""Sentinel-1: backscatter of the radar scene nearest in time to the anchor, per orbit pass, in all polarisations."""

from __future__ import annotations

from exporters import scenes
from exporters.expressions import ORBIT_PASSES, per_orbit_pass
from pipeline.modality import Band, Display, Modality

_POLARISATIONS = ("VV", "VH", "HH", "HV")

sentinel1 = Modality(
    name="sentinel1",
    title="Sentinel-1 GRD backscatter in dB (interpolated in dB), ascending then descending",
    bands=tuple(
        Band(f"{polarisation}_{orbit_pass}", "dB", f"sigma nought {polarisation}, {orbit_pass} pass")
        for orbit_pass in ORBIT_PASSES
        for polarisation in _POLARISATIONS
    ),
    dtype="int16",
    nodata=-32768,
    scale=0.01,
    resampling="bilinear",
    valid_range=(-7000, 4000),
    time_rule="nearest to the anchor in time, per orbit pass",
    assets=(scenes.RADAR,),
    reference="https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_S1_GRD",
    display=Display("grey", ("VV_ascending", "VV_descending"), -25.0, 0.0),
    source=per_orbit_pass(_POLARISATIONS),
)
