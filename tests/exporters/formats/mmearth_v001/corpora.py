"""Small finished corpora of all of MMEarth's layers, with nodata in every way that it comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from exporters.catalog import of_manifest
from exporters.formats.mmearth_v001.datasets import LAYERS
from exporters.formats.mmearth_v001.regions import regions
from pipeline.corpus import Corpus
from pipeline.manifest import Manifest
from pipeline.modality import Modality
from tests.pipeline.chips import make_chip


def mmearth_corpus(
    folder: Path, chips: int = 10, size_px: int = 16, shard_rows: int = 4, leave_out: Sequence[str] = ()
) -> Corpus:
    """A finished corpus of RESOLVE's own regions; the level alternates, every fifth chip is in val."""
    folder.mkdir(parents=True)
    Manifest.freeze([_chip(number, size_px) for number in range(chips)], 0).write(folder / "manifest.parquet")
    manifest = Manifest.read(folder / "manifest.parquet")
    names = [dataset.name for dataset in LAYERS if dataset.name not in leave_out]
    corpus = Corpus.create(folder, of_manifest(manifest, names), shard_rows)
    for shard in corpus.shards:
        for name in names:
            corpus.write(shard, name, legal_block(corpus.modality(name), len(shard), size_px, shard.index), {})
    corpus.finalize()
    return Corpus.open(folder)


def _chip(number: int, size_px: int):
    chip = make_chip(number, size_px, "val" if number % 5 == 0 else "train")
    region = regions()[number * 37 % 846]
    place = replace(
        chip.location, stratum=f"eco-{region.ecoregion:03d}", biome=region.biome, ecoregion=region.ecoregion,
        ecoregion_name=region.ecoregion_name, realm=region.realm,
    )  # fmt: skip
    return replace(chip, location=place)


def legal_block(modality: Modality, rows: int, size_px: int, seed: int) -> np.ndarray:
    """Random legal values (rows, bands[, y, x]): a tenth nodata, the last band of the first row without any datum."""
    random = np.random.default_rng(seed)
    shape = (rows, *modality.shape(size_px))
    low, high = modality.valid_range or (200, 300)
    values = random.choice(modality.codes, shape) if modality.categories else random.uniform(low, high, shape)
    block = values.astype(modality.dtype)
    block[random.random(shape) < 0.1] = modality.fill
    block[0, -1] = modality.fill
    return block
