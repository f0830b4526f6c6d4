"""Latitude of the location, as sine and cosine."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from exporters.sources import Local
from pipeline.chip import Chip
from pipeline.licence import OWN
from pipeline.modality import Band, Modality


def _sin_cos(chip: Chip) -> NDArray[np.float64]:
    angle = math.radians(chip.location.lat)
    return np.array([math.sin(angle), math.cos(angle)])


lat = Modality(
    name="lat",
    title="Latitude as sine and cosine",
    bands=(Band("sin"), Band("cos")),
    dtype="float32",
    nodata=float("nan"),
    extent="image",
    valid_range=(-1, 1),
    licence=OWN,
    source=Local(_sin_cos),
)
