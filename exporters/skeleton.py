"""The file that `geocorpus modality new` writes: complete, so that it can be checked, and commented, to be changed."""

from __future__ import annotations

import keyword
from pathlib import Path

from exporters import catalog
from pipeline import durable
from pipeline.errors import Fatal
from pipeline.layout import is_taken

_TEXT = '''"""NDVI of the anchor scene. Say here in one sentence what the layer is."""

import ee

# Time rules: at_anchor, per_orbit_pass, around_anchor, mode_over_year, static; docs/modalities.md explains them.
from geocorpus import Band, Display, Licence, Modality, at_anchor

# Every asset that the graph reads, so that a long export can look them up before it begins.
COLLECTIONS = ("COPERNICUS/S2_SR_HARMONIZED", "COPERNICUS/S2_HARMONIZED")


def _ndvi(image: ee.Image) -> ee.Image:
    """Physical values, masked where there are none: one band per band below, in that order.

    `image` is interpolated already where resampling="bilinear", for that has to come before any arithmetic.
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
    # The licence of the source (SPDX identifier, or its name), its text, and what a publisher of the layer must say.
    licence=Licence(
        "Copernicus Sentinel data terms",
        "https://sentinels.copernicus.eu/documents/247904/690755/Sentinel_Data_Legal_Notice",
        "Contains modified Copernicus Sentinel data [years].",
    ),
    display=Display("grey", ("ndvi",), -0.2, 0.9),  # grey, rgb, hillshade or classes; physical darkest and lightest
    source=at_anchor(("B8", "B4"), then=_ndvi),
)
'''


def write_skeleton(name: str, folder: Path) -> Path:
    """Write `<name>.py` in `folder`. Raises `Fatal` for a name that no layer can have, and when the file exists."""
    problem = next((text for test, text in _refusals(name) if test), None)
    if problem:
        raise Fatal(f"a modality cannot be called {name!r}: {problem}.")
    path = folder / f"{name}.py"
    if path.exists():
        raise Fatal(f"{path} exists already; give another name.")
    durable.write_text(path, _TEXT.format(name=name))
    return path


def _refusals(name: str) -> list[tuple[bool, str]]:
    return [
        (not name.isidentifier() or name != name.lower() or not name.isascii(),
         "use small letters, digits and underscores, and a letter first"),
        (keyword.iskeyword(name), "Python has that word for itself; give another"),
        (is_taken(name), "the store has that name for a coordinate; give another"),
        (name in {layer.name for layer in catalog.everything()}, "geocorpus brings a layer of that name; give another"),
    ]  # fmt: skip
