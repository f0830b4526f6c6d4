"""The biome of the location, one of RESOLVE's fourteen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from exporters.sources import Local
from pipeline.chip import Chip
from pipeline.licence import cc_by_4
from pipeline.modality import Band, Category, Modality

ASSET = "RESOLVE/ECOREGIONS/2017"
# https://developers.google.com/earth-engine/datasets/catalog/RESOLVE_ECOREGIONS_2017#terms-of-use
_LICENCE = cc_by_4(
    "Dinerstein, E. et al. (2017): An Ecoregion-Based Approach to Protecting Half the Terrestrial Realm. BioScience "
    "67(6), 534-545. https://doi.org/10.1093/biosci/bix014"
)

# BIOME_NUM, BIOME_NAME and COLOR_BIO of the table.
CATEGORIES = (
    Category(1, "Tropical & Subtropical Moist Broadleaf Forests", "#38a700"),
    Category(2, "Tropical & Subtropical Dry Broadleaf Forests", "#cccd65"),
    Category(3, "Tropical & Subtropical Coniferous Forests", "#88ce66"),
    Category(4, "Temperate Broadleaf & Mixed Forests", "#00734c"),
    Category(5, "Temperate Conifer Forests", "#458970"),
    Category(6, "Boreal Forests/Taiga", "#7ab6f5"),
    Category(7, "Tropical & Subtropical Grasslands, Savannas & Shrublands", "#feaa01"),
    Category(8, "Temperate Grasslands, Savannas & Shrublands", "#feff73"),
    Category(9, "Flooded Grasslands & Savannas", "#bee7ff"),
    Category(10, "Montane Grasslands & Shrublands", "#d6c39d"),
    Category(11, "Tundra", "#9ed7c2"),
    Category(12, "Mediterranean Forests, Woodlands & Scrub", "#fe0000"),
    Category(13, "Deserts & Xeric Shrublands", "#cc6767"),
    Category(14, "Mangroves", "#fe01c4"),
)
_KNOWN = frozenset(category.code for category in CATEGORIES)


def _unknown(chip: Chip) -> str | None:
    return None if chip.location.biome in _KNOWN else "the location's biome is not known"


def _code(chip: Chip) -> NDArray[np.float64]:
    return np.array([float(chip.location.biome)])


biome = Modality(
    name="biome",
    title="Biome (RESOLVE Ecoregions 2017)",
    bands=(Band("biome"),),
    dtype="uint8",
    nodata=0,
    extent="image",
    categories=CATEGORIES,
    assets=(ASSET,),
    reference="https://developers.google.com/earth-engine/datasets/catalog/RESOLVE_ECOREGIONS_2017",
    licence=_LICENCE,
    source=Local(_code, _unknown),
)
