"""Sentinel-2: the image that a chip is pinned to, with its cloud mask, cloud probability and scene classes."""

from __future__ import annotations

import ee

from exporters import scenes
from exporters.expressions import at_anchor
from exporters.origin import scaled
from pipeline.chip import Chip
from pipeline.modality import Band, Category, Display, Modality
from pipeline.observed import CloudDetection, Observed, SkyClasses

REFERENCE = "https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_S2_SR_HARMONIZED"
# Reflectance per digital number (asset page).
REFLECTANCE = 1e-4
_CENTRES_NM = {
    "B1": 443, "B2": 490, "B3": 560, "B4": 665, "B5": 705, "B6": 740, "B7": 783,
    "B8": 842, "B8A": 865, "B9": 940, "B10": 1375, "B11": 1610, "B12": 2190,
}  # fmt: skip
# Those of s2cloudless, in its order; it was made for reflectance at the top of the atmosphere.
_DETECTED_IN = ("B1", "B2", "B4", "B5", "B8", "B8A", "B9", "B10", "B11", "B12")
# Our choice: about where the scene classes of the same processor begin to call it a cloud of medium probability.
_CLOUD_FROM_PERCENT = 35.0
_ASSETS = tuple(scenes.OPTICAL.values())
_RULE = "the anchor scene"


def _reflectance(image: ee.Image) -> ee.Image:
    return image.multiply(REFLECTANCE)


def _surface_only(chip: Chip) -> str | None:
    level = chip.acquisition.level
    return None if level == "l2a" else f"level {level} has no scene classes or cloud probability"


sentinel2 = Modality(
    name="sentinel2",
    title="Sentinel-2 reflectance: L1C top of atmosphere (13 bands) or L2A surface (no B10)",
    bands=tuple(Band(name, "1", f"reflectance at {centre} nm") for name, centre in _CENTRES_NM.items()),
    dtype="uint16",
    nodata=0,
    scale=REFLECTANCE,
    resampling="bilinear",
    valid_range=(1, 20000),
    time_rule=_RULE,
    assets=_ASSETS,
    reference=REFERENCE,
    licence=scenes.LICENCE,
    statistics_by="level",
    patch_normalised=True,
    display=Display("rgb", ("B4", "B3", "B2"), 0.0, 0.3),
    observed=Observed(detection=CloudDetection(_DETECTED_IN, "l1c")),
    source=at_anchor(tuple(_CENTRES_NM), _reflectance, plain=scaled(REFLECTANCE)),
)

sentinel2_cloudmask = Modality(
    name="sentinel2_cloudmask",
    title="Sentinel-2 cloud mask (QA60); empty by design from 2022-01-25 to 2024-02-28",
    bands=(Band("QA60"),),
    dtype="uint16",
    nodata=65535,
    categories=(
        Category(0, "clear", "#1a9850"),
        Category(1024, "opaque clouds", "#ffffff"),
        Category(2048, "cirrus clouds", "#bac5eb"),
        Category(3072, "opaque and cirrus clouds", "#d9d9d9"),
    ),
    time_rule=_RULE,
    assets=_ASSETS,
    reference=REFERENCE,
    licence=scenes.LICENCE,
    display=Display("classes", ("QA60",)),
    source=at_anchor(("QA60",)),
)

sentinel2_cloudprod = Modality(
    name="sentinel2_cloudprod",
    title="Sentinel-2 L2A cloud probability (MSK_CLDPRB)",
    bands=(Band("MSK_CLDPRB", "percent"),),
    dtype="uint8",
    nodata=255,
    resampling="bilinear",
    valid_range=(0, 100),
    time_rule=_RULE,
    assets=(scenes.OPTICAL["l2a"],),
    reference=REFERENCE,
    licence=scenes.LICENCE,
    display=Display("grey", ("MSK_CLDPRB",), 0.0, 100.0),
    observed=Observed(cloud_from=_CLOUD_FROM_PERCENT),
    source=at_anchor(("MSK_CLDPRB",), absent=_surface_only),
)

sentinel2_scl = Modality(
    name="sentinel2_scl",
    title="Sentinel-2 L2A scene classes (SCL)",
    bands=(Band("SCL"),),
    dtype="uint8",
    nodata=255,
    # Names and colours of the asset page; the processor's own class 0 ("no data") is a class like the others.
    categories=(
        Category(0, "no data", "#000000"),
        Category(1, "saturated or defective", "#ff0004"),
        Category(2, "dark area", "#868686"),
        Category(3, "cloud shadow", "#774b0a"),
        Category(4, "vegetation", "#10d22c"),
        Category(5, "bare soil", "#ffff52"),
        Category(6, "water", "#0000ff"),
        Category(7, "cloud, low probability or unclassified", "#818181"),
        Category(8, "cloud, medium probability", "#c0c0c0"),
        Category(9, "cloud, high probability", "#f1f1f1"),
        Category(10, "cirrus", "#bac5eb"),
        Category(11, "snow or ice", "#52fff9"),
    ),
    time_rule=_RULE,
    assets=(scenes.OPTICAL["l2a"],),
    reference=REFERENCE,
    licence=scenes.LICENCE,
    display=Display("classes", ("SCL",)),
    observed=Observed(classes=SkyClasses(cloud=(8, 9, 10), shadow=(3,), snow=(11,), unknown=(0,))),
    source=at_anchor(("SCL",), absent=_surface_only),
)
