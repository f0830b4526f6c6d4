"""Sentinel-1: backscatter of the radar scene nearest in time to the anchor, per orbit pass, in all polarisations."""

from __future__ import annotations

from exporters import scenes
from exporters.expressions import ORBIT_PASSES, per_orbit_pass
from pipeline.modality import Band, Display, Modality
from pipeline.observed import Channel, Observed

_POLARISATIONS = ("VV", "VH", "HH", "HV")
# Of the products' names (Sentinel-1 product specification): one or two polarisations, HH and HV mostly over polar ice.
_MODES = (("_1SDV_", ("VV", "VH")), ("_1SDH_", ("HH", "HV")), ("_1SSV_", ("VV",)), ("_1SSH_", ("HH",)))
# At the edges of a swath products of before 2018 hold noise far below any ground (microsoft/PlanetaryComputer#307), and
# the collection's own examples mask values below -30 dB. In cross-polarisation calm water reaches them as well.
_NOISE_FLOOR_DB = {"VV": -30.0, "HH": -30.0}

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
    licence=scenes.LICENCE,
    display=Display("grey", ("VV_ascending", "VV_descending"), -25.0, 0.0),
    observed=Observed(
        channels=tuple(
            Channel(f"{polarisation}_{orbit_pass}", orbit_pass, polarisation, _NOISE_FLOOR_DB.get(polarisation))
            for orbit_pass in ORBIT_PASSES
            for polarisation in _POLARISATIONS
        ),
        modes=_MODES,
    ),
    source=per_orbit_pass(_POLARISATIONS),
)
