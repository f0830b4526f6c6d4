"""Reflectance of materials in Sentinel-2's bands, and atmospheric scattering.

The orders of magnitude follow the USGS and ECOSTRESS spectral libraries; the values are invented, not measured.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sandbox.planet.materials import MATERIALS

F32 = NDArray[np.float32]

BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")

# Per mille, in the order of BANDS: dormant (dry, leafless) and in full growth.
_DRY = {
    "broadleaf": (38, 45, 62, 72, 95, 130, 150, 165, 175, 180, 0, 215, 150),
    "conifer": (22, 26, 36, 34, 60, 125, 145, 155, 165, 168, 0, 95, 52),
    "shrub": (62, 75, 105, 130, 155, 180, 195, 210, 222, 230, 0, 300, 230),
    "grass": (68, 84, 122, 155, 185, 215, 235, 255, 268, 275, 0, 350, 260),
    "crop": (88, 106, 142, 182, 205, 222, 236, 252, 264, 272, 0, 345, 290),
    "roof": (130, 148, 165, 182, 192, 205, 215, 228, 236, 242, 0, 262, 240),
    "street": (85, 94, 104, 112, 120, 126, 132, 142, 148, 152, 0, 176, 168),
    "sand": (125, 165, 245, 330, 360, 378, 392, 405, 418, 424, 0, 505, 450),
    "rock": (92, 108, 138, 168, 182, 192, 202, 212, 220, 224, 0, 268, 236),
    "snow": (890, 900, 890, 880, 870, 855, 845, 830, 810, 770, 0, 95, 75),
    "water": (52, 50, 42, 26, 20, 15, 13, 11, 9, 8, 0, 5, 3),
    "wetland": (44, 52, 76, 84, 105, 130, 145, 158, 165, 168, 0, 165, 105),
    "mangrove": (26, 30, 46, 40, 75, 180, 220, 235, 245, 245, 0, 110, 52),
    "moss": (70, 82, 108, 122, 145, 170, 185, 200, 212, 218, 0, 275, 215),
    "hedge": (34, 40, 56, 62, 90, 135, 155, 170, 180, 185, 0, 190, 130),
}
_GREEN = {
    "broadleaf": (20, 24, 46, 28, 82, 270, 350, 370, 392, 395, 0, 165, 72),
    "conifer": (17, 20, 34, 23, 58, 165, 205, 220, 235, 238, 0, 92, 44),
    "shrub": (36, 44, 72, 68, 112, 215, 258, 275, 292, 300, 0, 225, 140),
    "grass": (32, 40, 84, 52, 125, 290, 355, 378, 398, 405, 0, 225, 118),
    "crop": (28, 34, 76, 40, 118, 335, 425, 448, 468, 472, 0, 205, 96),
    "wetland": (30, 36, 66, 46, 98, 225, 275, 292, 305, 308, 0, 142, 66),
    "mangrove": (20, 24, 44, 30, 72, 235, 295, 312, 325, 325, 0, 120, 50),
    "moss": (45, 54, 86, 80, 122, 210, 245, 262, 278, 284, 0, 235, 150),
    "hedge": (22, 26, 48, 32, 84, 255, 325, 345, 362, 366, 0, 160, 74),
}
# The strength of the texture in each material.
_GRAIN = {
    "broadleaf": 0.15, "conifer": 0.17, "shrub": 0.16, "grass": 0.07, "crop": 0.04, "roof": 0.28, "street": 0.12,
    "sand": 0.06, "rock": 0.12, "snow": 0.025, "water": 0.02, "wetland": 0.16, "mangrove": 0.12, "moss": 0.10,
    "hedge": 0.12,
}  # fmt: skip
# Path reflectance (per mille) and transmittance of a clear atmosphere, at its top.
_PATH = np.array([105, 78, 48, 29, 24, 19, 16, 13, 10, 4, 1, 3, 1], dtype=np.float32) / 1000
_TRANS = np.array([0.70, 0.77, 0.84, 0.89, 0.90, 0.91, 0.92, 0.93, 0.95, 0.32, 0.004, 0.94, 0.95], dtype=np.float32)
_CLOUD_L1C = np.array([0.70, 0.68, 0.67, 0.68, 0.69, 0.70, 0.71, 0.72, 0.73, 0.35, 0.035, 0.48, 0.38], dtype=np.float32)


def _table(rows: Mapping[str, tuple[int, ...]]) -> F32:
    per_mille = np.array([rows.get(name, _DRY[name]) for name in MATERIALS], dtype=np.float32).T
    return per_mille / np.float32(1000)


DRY = _table(_DRY)
GAIN = _table(_GREEN) - DRY
GRAIN = np.array([_GRAIN[name] for name in MATERIALS], dtype=np.float32)
INDEX = {name: k for k, name in enumerate(BANDS)}
SNOW = DRY[:, MATERIALS.index("snow")]


def add_atmosphere(reflectance: F32, band: int) -> None:
    """Make Level 1C reflectance under a clear sky of surface reflectance, in place; float32."""
    reflectance *= _TRANS[band]
    reflectance += _PATH[band]


def cloud_reflectance(band: int, surface_product: bool) -> float:
    """The reflectance of an opaque cloud in the product (Level 2A removes the path scattering, not the cloud)."""
    top = float(_CLOUD_L1C[band])
    if not surface_product:
        return top
    return float((top - _PATH[band]) / max(float(_TRANS[band]), 0.8))
