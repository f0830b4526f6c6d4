"""The ecoregion of the location; its classes are those of the manifest."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray

from exporters.sources import Local
from pipeline.chip import Chip
from pipeline.licence import cc_by_4
from pipeline.location import NO_CODE
from pipeline.manifest import Manifest
from pipeline.modality import Band, Category, Modality

ASSET = "RESOLVE/ECOREGIONS/2017"
# https://developers.google.com/earth-engine/datasets/catalog/RESOLVE_ECOREGIONS_2017#terms-of-use
_LICENCE = cc_by_4(
    "Dinerstein, E. et al. (2017): An Ecoregion-Based Approach to Protecting Half the Terrestrial Realm. BioScience "
    "67(6), 534-545. https://doi.org/10.1093/biosci/bix014"
)
_GOLDEN_RATIO = 0.6180339887498949  # neighbouring codes get hues far apart


def _unknown(chip: Chip) -> str | None:
    return None if chip.location.ecoregion != NO_CODE else "the location's ecoregion is not known"


def _code(chip: Chip) -> NDArray[np.float64]:
    return np.array([float(chip.location.ecoregion)])


def _with_classes(modality: Modality, manifest: Manifest) -> Modality:
    """The classes of the manifest by code; those that an extension brought follow, so that the others stay in place."""
    codes, names = manifest.column("ecoregion").tolist(), manifest.column("ecoregion_name").tolist()
    classes: dict[int, str] = {}
    for stop in (*(state.rows for state in manifest.ancestors), len(manifest)):
        classes |= dict(sorted(item for item in _pairs(codes[:stop], names[:stop]).items() if item[0] not in classes))
    return modality.with_categories(
        [Category(code, name or str(code), _colour(code)) for code, name in classes.items()]
    )


def _pairs(codes: list[int], names: list[str]) -> dict[int, str]:
    """The name of every known code, the last that it has."""
    return {code: name for code, name in zip(codes, names, strict=True) if code != NO_CODE}


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
    licence=_LICENCE,
    source=Local(_code, _unknown, bind=_with_classes),
)
