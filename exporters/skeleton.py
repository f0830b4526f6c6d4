"""The file that `geocorpus modality new` writes: complete, so that it can be checked, and commented, to be changed."""

from __future__ import annotations

from pathlib import Path

from pipeline import durable
from pipeline.errors import Fatal

_TEXT = '''"""NDVI of the anchor scene. Say here in one sentence what the layer is."""

import ee

# Time rules: at_anchor, per_orbit_pass, around_anchor, mode_over_year, static; docs/modalities.md explains them.
from geocorpus import Band, Display, Modality, at_anchor

# Every asset that the graph reads, so that a long export can look them up before it begins.
COLLECTIONS = ("COPERNICUS/S2_SR_HARMONIZED", "COPERNICUS/S2_HARMONIZED")


def _ndvi(image: ee.Image) -> ee.Image:
    """Physical values, masked where there are none: one band per band below, in that order.

    Scaling, rounding, nodata and the chip's grid are the exporter's business. Any graph can be written here.
    """
    return image.normalizedDifference(["B8", "B4"])


{name} = Modality(
    name="{name}",  # the array's name in the store
    title="NDVI of the anchor scene",
    bands=(Band("ndvi", "1", "normalised difference of near infrared and red"),),  # name, units, description
    dtype="int16",  # as stored
    nodata=-32768,  # a stored value that no datum has
    scale=0.0001,  # physical = stored * scale + offset
    resampling="nearest",  # or "bilinear", for continuous layers of coarser pixels
    valid_range=(-10000, 10000),  # stored values; outside of it, something is wrong
    # extent="image" for one value per band and chip; categories=(Category(1, "water", "#419bdf"), ...) for classes
    time_rule="the anchor scene",
    assets=COLLECTIONS,
    reference="https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_S2_SR_HARMONIZED",
    display=Display("grey", ("ndvi",), -0.2, 0.9),  # grey, rgb, hillshade or classes; physical darkest and lightest
    source=at_anchor(("B8", "B4"), then=_ndvi),
)
'''


def write_skeleton(name: str, folder: Path) -> Path:
    """Write `<name>.py` in `folder`. Raises `Fatal` when the name is not a Python identifier or the file exists."""
    if not name.isidentifier() or name != name.lower():
        raise Fatal(f"a modality cannot be called {name!r}; use small letters, digits and underscores.")
    path = folder / f"{name}.py"
    if path.exists():
        raise Fatal(f"{path} exists already; give another name.")
    durable.write_text(path, _TEXT.format(name=name))
    return path
