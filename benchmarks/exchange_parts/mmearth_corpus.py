"""A corpus of MMEarth's layers, made up: our own specifications, smooth fields with noise for values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.made_corpus import SIZE_PX, made_chip, smooth
from exporters.catalog import of_manifest
from exporters.formats.mmearth_v001.datasets import LAYERS
from pipeline.corpus import Corpus
from pipeline.corpus_folder import MANIFEST
from pipeline.manifest import Manifest
from pipeline.modality import Modality

_SHARD_ROWS = 128
_CLIMATE = (250.0, 300.0)  # K, for a layer without a range of its own


def mmearth_corpus(folder: Path, chips: int) -> Corpus:
    """A finished corpus of so many chips of 128 px in `folder`, with the layers that v001 has."""
    folder.mkdir(parents=True)
    Manifest.freeze([made_chip(number) for number in range(chips)], seed=0).write(folder / MANIFEST)
    manifest = Manifest.read(folder / MANIFEST)
    corpus = Corpus.create(folder, of_manifest(manifest, [dataset.name for dataset in LAYERS]), _SHARD_ROWS)
    for shard in corpus.shards:
        random = np.random.default_rng(shard.index)
        for modality in corpus.modalities.values():
            corpus.write(shard, modality.name, _block(modality, len(shard), random), {})
    return corpus


def _block(modality: Modality, rows: int, random: np.random.Generator) -> NDArray[Any]:
    """Stored values (rows, bands[, y, x]), all of them data."""
    shape = (rows, *modality.shape(SIZE_PX))
    low, high = modality.valid_range or _CLIMATE
    if modality.extent == "image":
        return random.uniform(low, high, shape).astype(modality.dtype)
    fields = smooth(shape, random)
    if modality.categories:
        return np.asarray(modality.codes, dtype=modality.dtype)[(fields * len(modality.codes)).astype(int)]
    noise = random.normal(0, (high - low) / 500, shape).astype(np.float32)
    return np.clip(low + fields * (high - low) / 4 + noise, low, high).astype(modality.dtype)
