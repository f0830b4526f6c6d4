"""The anchor's month (UTC), as sine and cosine, so that December is next to January."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from exporters.sources import Local
from pipeline.chip import Chip
from pipeline.licence import OWN
from pipeline.modality import Band, Modality


def _sin_cos(chip: Chip) -> NDArray[np.float64]:
    angle = 2 * math.pi * chip.acquisition.date.month / 12
    return np.array([math.sin(angle), math.cos(angle)])


month = Modality(
    name="month",
    title="Month of the anchor as sine and cosine of 2 pi m / 12, m from 1",
    bands=(Band("sin"), Band("cos")),
    dtype="float32",
    nodata=float("nan"),
    extent="image",
    valid_range=(-1, 1),
    time_rule="the anchor's month",
    licence=OWN,
    source=Local(_sin_cos),
)
