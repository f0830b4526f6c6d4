"""Tiny corpora of made-up layers: every kind and extent, two groups of statistics, and one layer without any data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.compression import FORMAT_VERSION
from pipeline.corpus import Corpus, empty_block
from pipeline.corpus_folder import MANIFEST
from pipeline.manifest import Manifest
from pipeline.modality import Band, Category, Modality
from tests.pipeline.chips import make_manifest
from training.config import PretrainConfig

NAN = float("nan")
# `haze` has data at level l1c alone, as an optical band may.
LIGHT = Modality("light", "Light", (Band("red"), Band("haze"), Band("green")), "uint16", 0, statistics_by="level",
                 patch_normalised=True)  # fmt: skip
ECHO = Modality("echo", "Echo", (Band("up", "dB"), Band("down", "dB")), "float32", NAN)
GROUND = Modality("ground", "Ground", (Band("class"),), "uint8", 255,
                  categories=(Category(30, "Rock"), Category(10, "Wood"), Category(20, "Water")))  # fmt: skip
WEATHER = Modality("weather", "Weather", (Band("heat", "K"), Band("rain", "m")), "float32", NAN, extent="image")
CULTURE = Modality("culture", "Culture", (Band("class"),), "int32", -1, extent="image",
                   categories=(Category(7, "Steppe"), Category(100_000, "City"), Category(-5, "Sea")))  # fmt: skip
NOTHING = Modality("nothing", "Nothing", (Band("a"), Band("b")), "int16", -9999)
ALL = (LIGHT, ECHO, GROUND, WEATHER, CULTURE, NOTHING)

SIZE_PX = 32
CONFIG = PretrainConfig(
    inputs=("light",), encoder="zepto", image_px=24, patch_px=8, decoder_width=16, batch_size=4, steps=6, blr=0.05,
    checkpoint_every=2, read_rows=5, threads=1, log_every=1, pictures_every=0,
)  # fmt: skip


def make_corpus(
    folder: Path, count: int = 20, modalities: tuple[Modality, ...] = ALL, shard_rows: int = 8,
    store_url: str | None = None, format_version: int = FORMAT_VERSION,
    manifest_of: Callable[[Path, int, int], Manifest] = make_manifest,
) -> Corpus:  # fmt: skip
    """A finished corpus of `count` chips, every fifth in val; its arrays may be elsewhere."""
    manifest = manifest_of(folder, count, SIZE_PX)
    assert (folder / MANIFEST).exists()
    corpus = Corpus.create(folder, modalities, shard_rows, store_url, format_version=format_version)
    for shard in corpus.shards:
        for modality in modalities:
            corpus.write(shard, modality.name, chips_of(modality, manifest, shard.rows), {})
    return corpus


def chips_of(modality: Modality, manifest: Manifest, rows: range) -> NDArray:
    """Stored values of `rows`; each chip follows from its row, so that layers and shards agree."""
    block = empty_block(modality, len(rows), SIZE_PX)
    for index, row in enumerate(rows):
        values = MAKERS[modality.name](row, manifest.column("level")[row])
        block[index] = np.where(np.isnan(values), modality.fill, np.nan_to_num(values)).astype(modality.dtype)
    return block


def _field(row: int) -> NDArray:
    """A smooth field in 0..1 with its own direction per row, (SIZE_PX, SIZE_PX)."""
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX] / SIZE_PX
    return 0.5 + 0.5 * np.sin(4 * (np.cos(row) * x + np.sin(row) * y) + row)


def _light(row: int, level: str) -> NDArray:
    field = _field(row)
    haze = field * 40 + 10 if level == "l1c" else np.full_like(field, NAN)
    values = np.stack([300 + 2000 * field, haze, 100 + 900 * field])
    if level == "l2a":
        values += 500
    values[:, :3, :] = NAN
    return np.round(values)


def _echo(row: int, level: str) -> NDArray:
    field = _field(row)
    return np.stack([-20 + 10 * field, np.full_like(field, NAN) if row % 3 == 0 else -5 - field])


def _ground(row: int, level: str) -> NDArray:
    classes = np.array([30.0, 10.0, 20.0, NAN])[np.digitize(_field(row), [0.3, 0.6, 0.95])]
    return classes[None]


MAKERS = {
    "light": _light,
    "echo": _echo,
    "ground": _ground,
    "weather": lambda row, level: np.array([280.0 + row % 7, NAN if row % 4 == 0 else 0.1 * (row % 5)]),
    "culture": lambda row, level: np.array([(7.0, 100_000.0, -5.0, NAN)[row % 4]]),
    "nothing": lambda row, level: np.full((2, SIZE_PX, SIZE_PX), NAN),
}
