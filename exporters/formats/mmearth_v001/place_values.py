"""The datasets that follow from the manifest alone: place and month as sine and cosine, regions as one-hot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.formats.mmearth_v001.datasets import BIOME, ECOREGION, LATITUDE, LONGITUDE, MONTH, Dataset
from exporters.formats.mmearth_v001.regions import biome_class, ecoregion_class
from pipeline.chip import Chip


def place_values(chips: Sequence[Chip]) -> dict[Dataset, NDArray[Any]]:
    """For each dataset of `PLACES` the values (k, bands) or (k, classes) of the chips, in the file's dtype."""
    months = [chip.acquisition.date.month for chip in chips]
    return {
        LATITUDE: _sin_cos(np.radians([chip.location.lat for chip in chips])),
        LONGITUDE: _sin_cos(np.radians([chip.location.lon for chip in chips])),
        MONTH: _sin_cos(2 * np.pi * np.asarray(months) / 12),
        BIOME: _one_hot(BIOME, [biome_of(chip) for chip in chips]),
        ECOREGION: _one_hot(ECOREGION, [ecoregion_of(chip) for chip in chips]),
    }


def biome_of(chip: Chip) -> int | None:
    """The published class of a chip's biome; None where it is not known."""
    return biome_class(chip.location.biome)


def ecoregion_of(chip: Chip) -> int | None:
    """The published class of a chip's ecoregion; None where it is not known, or not one of RESOLVE's."""
    return ecoregion_class(chip.location.ecoregion, chip.location.ecoregion_name)


def _sin_cos(angles: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.column_stack([np.sin(angles), np.cos(angles)]).astype(np.float32)


def _one_hot(dataset: Dataset, numbers: Sequence[int | None]) -> NDArray[Any]:
    values = np.zeros((len(numbers), dataset.classes), dataset.dtype)
    for row, number in enumerate(numbers):
        if number is not None:
            values[row, number] = 1
    return values
