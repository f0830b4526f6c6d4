"""Small, valid chips and modalities for tests of the store and of whatever reads it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.chip import Acquisition, Chip, Scene
from pipeline.grid import Grid, utm_crs
from pipeline.location import Location, location_id
from pipeline.manifest import Manifest
from pipeline.modality import Band, Category, Display, Modality

OPTICAL = Modality(
    name="optical", title="Optical image", bands=(Band("red"), Band("green"), Band("cirrus")), dtype="uint16", nodata=0,
    resampling="bilinear", scale=1e-4, valid_range=(1, 20000), statistics_by="level", patch_normalised=True,
    display=Display("rgb", ("red", "green", "red"), 0.0, 0.5),
)  # fmt: skip
COVER = Modality(
    name="cover", title="Land cover", bands=(Band("class"),), dtype="uint8", nodata=255,
    categories=(Category(10, "Tree cover", "#006400"), Category(20, "Shrub, low", "#ffbb22"), Category(80, "Water")),
    display=Display("classes"),
)  # fmt: skip
CLIMATE = Modality(
    name="climate", title="Climate", bands=(Band("temperature", "K"), Band("rain", "m")), dtype="float32",
    nodata=float("nan"), extent="image",
)  # fmt: skip
MODALITIES = (OPTICAL, COVER, CLIMATE)


def make_chip(number: int, size_px: int = 16, split: str = "train") -> Chip:
    """The chip of that number: everything in it follows from the number."""
    random = np.random.default_rng(number)
    lonlat = (float(random.uniform(-179, 179)), float(random.uniform(-60, 70)))
    location = Location(location_id(*lonlat), *lonlat, stratum="s", biome=1 + number % 14, biome_name=f"b{number % 14}")
    anchor = Scene.at_ms(f"A/S2/{number}", 1.5e12 + number * 86_400_000)
    descending = Scene.at_ms(f"A/S1/{number}", 1.5e12) if number % 3 else None
    acquisition = Acquisition(anchor, "l2a" if number % 2 else "l1c", None, descending)
    return Chip(location, Grid.around(lonlat, utm_crs(lonlat), size_px), acquisition, split)


def make_manifest(folder: Path, count: int, size_px: int = 16, seed: int = 0) -> Manifest:
    """A manifest of `count` chips, every fifth in val, published in `folder`."""
    splits = ["val" if number % 5 == 0 else "train" for number in range(count)]
    chips = [replace(make_chip(number, size_px), split=split) for number, split in enumerate(splits)]
    manifest = Manifest.freeze(chips, seed)
    manifest.write(folder / "manifest.parquet")
    return manifest


def make_block(modality: Modality, rows: int, size_px: int, seed: int) -> np.ndarray:
    """Random legal values of a modality, about a tenth of them nodata."""
    random = np.random.default_rng(seed)
    shape = (rows, *modality.shape(size_px))
    if modality.categories:
        values = random.choice(modality.codes, size=shape)
    else:
        values = random.integers(1, 9000, size=shape)
    block = values.astype(modality.dtype)
    block[random.random(shape) < 0.1] = modality.fill
    return block
