"""The ecoregion of the location; its classes are those of the manifest."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray

from exporters.sources import Local
from pipeline.chip import Chip
from pipeline.location import NO_CODE
from pipeline.manifest import Manifest
from pipeline.modality import Band, Category, Modality

ASSET = "RESOLVE/ECOREGIONS/2017"
_GOLDEN_RATIO = 0.6180339887498949  # neighbouring codes get hues far apart


def _unknown(chip: Chip) -> str | None:
    return None if chip.location.ecoregion != NO_CODE else "the location's ecoregion is not known"


def _code(chip: Chip) -> NDArray[np.float64]:
    return np.array([float(chip.location.ecoregion)])


def _with_classes(modality: Modality, manifest: Manifest) -> Modality:
    pairs = dict(zip(manifest.column("ecoregion").tolist(), manifest.column("ecoregion_name").tolist(), strict=True))
    named = sorted((code, name) for code, name in pairs.items() if code != NO_CODE)
    return modality.with_categories([Category(code, name or str(code), _colour(code)) for code, name in named])


def _colour(code: int) -> str:
    red, green, blue = colorsys.hls_to_rgb(code * _GOLDEN_RATIO % 1.0, 0.55, 0.6)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


eco_region = Modality(
    name="eco_region",
    title="Ecoregion (RESOLVE Ecoregions 2017, ECO_ID)",
    bands=(Band("eco_region"),),
    dtype="uint16",
    nodata=65535,
    extent="image",
    assets=(ASSET,),
    reference="https://developers.google.com/earth-engine/datasets/catalog/RESOLVE_ECOREGIONS_2017",
    source=Local(_code, _unknown, bind=_with_classes),
)
