"""A corpus for benchmarks of training, made up on the spot: twelve layers as MMEarth's, in real shards, in seconds.

It needs nothing but the packages of the store, so that it can be made wherever a GPU is at hand. Values are smooth
fields with noise, which a codec shrinks about as it does real ones; there is nothing in them to learn.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.chip import Acquisition, Chip, Scene
from pipeline.corpus import Corpus
from pipeline.corpus_folder import MANIFEST
from pipeline.grid import Grid, utm_crs
from pipeline.location import Location, location_id
from pipeline.manifest import Manifest
from pipeline.modality import Band, Category, Modality
from pipeline.shard import Shard

SIZE_PX = 128
SHARD_ROWS = 128
_COARSE = 8  # Places along an edge between which a field is interpolated.


def _bands(count: int) -> tuple[Band, ...]:
    return tuple(Band(f"b{index}") for index in range(count))


def _classes(count: int) -> tuple[Category, ...]:
    return tuple(Category(code, f"class {code}") for code in range(count))


def _numbers(name: str, bands: int, dtype: str, nodata: float, extent: Any = "pixel", **more: Any) -> Modality:
    return Modality(name, name, _bands(bands), dtype, nodata, extent=extent, **more)


def _labels(name: str, classes: int, dtype: str, nodata: int, extent: Any = "pixel") -> Modality:
    return Modality(name, name, _bands(1), dtype, nodata, extent=extent, categories=_classes(classes))


# Bands, classes and extents as MP-MAE uses them (docs/training.md); the first is its input.
LAYERS = (
    _numbers("optical", 12, "uint16", 0, patch_normalised=True, statistics_by="level"),
    _numbers("radar", 8, "int16", -32768),
    _numbers("relief", 2, "int16", -32768),
    _numbers("canopy", 2, "uint8", 255),
    _labels("seasons", 9, "uint8", 255),
    _labels("cover", 11, "uint8", 255),
    _labels("biome", 14, "int16", -1, "image"),
    _labels("region", 846, "int16", -1, "image"),
    _numbers("climate", 12, "float32", float("nan"), "image"),
    _numbers("north", 2, "float32", float("nan"), "image"),
    _numbers("east", 2, "float32", float("nan"), "image"),
    _numbers("month", 2, "float32", float("nan"), "image"),
)
INPUT = LAYERS[0].name


def made_corpus(folder: Path, chips: int, threads: int, shard_rows: int = SHARD_ROWS) -> Corpus:
    """A finished corpus of so many chips in `folder`, all of them to train on."""
    folder.mkdir(parents=True, exist_ok=True)
    Manifest.freeze([made_chip(number) for number in range(chips)], seed=0).write(folder / MANIFEST)
    corpus = Corpus.create(folder, LAYERS, shard_rows)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(partial(_write, corpus), corpus.shards))
    return corpus


def made_chip(number: int) -> Chip:
    """The chip of that number, somewhere on land or sea."""
    random = np.random.default_rng(number)
    lonlat = (float(random.uniform(-179, 179)), float(random.uniform(-60, 70)))
    place = Location(location_id(*lonlat), *lonlat, stratum="all", biome=1, biome_name="all")
    scene = Scene.at_ms(f"made/up/{number}", 1.5e12 + number * 86_400_000)
    return Chip(place, Grid.around(lonlat, utm_crs(lonlat), SIZE_PX), Acquisition(scene, "l2a", None, None), "train")


def _write(corpus: Corpus, shard: Shard) -> None:
    random = np.random.default_rng(shard.index)
    for modality in LAYERS:
        corpus.write(shard, modality.name, _block(modality, len(shard), random), {})


def _block(modality: Modality, rows: int, random: np.random.Generator) -> NDArray[Any]:
    """Stored values (rows, bands[, y, x])."""
    shape = (rows, *modality.shape(SIZE_PX))
    if modality.extent == "image":
        classes = len(modality.categories)
        return (random.integers(0, classes, shape) if classes else random.normal(size=shape)).astype(modality.dtype)
    fields = smooth(shape, random)
    if modality.categories:
        return (fields * len(modality.categories)).astype(modality.dtype)
    top = 200 if modality.dtype == "uint8" else 4000
    noisy = fields * top + random.normal(0, top / 200, shape).astype(np.float32)
    return np.clip(noisy, 1, top).astype(modality.dtype)


def smooth(shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.float32]:
    """Fields in [0, 1) of `shape`, interpolated between a few places."""
    coarse = random.random((*shape[:-2], _COARSE, _COARSE), dtype=np.float32) * np.float32(0.999)
    at = np.linspace(0, _COARSE - 1, SIZE_PX)
    weights = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(_COARSE))).astype(np.float32)
    return weights @ coarse @ weights.T
