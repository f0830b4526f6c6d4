"""A corpus for benchmarks of reading: chips of the sandbox, in every orientation, as many as are wanted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.sandbox import corpus_cost, sandbox_process
from pipeline.corpus import Corpus
from pipeline.corpus_folder import MANIFEST
from pipeline.manifest import Manifest

# The modalities that MMEarth trains on.
TWELVE = (
    "sentinel2", "sentinel1", "aster", "canopy_height_eth", "dynamic_world", "esa_worldcover",
    "biome", "eco_region", "era5", "lat", "lon", "month",
)  # fmt: skip
_DISTINCT, _ORIENTATIONS = 64, 8


def resampled(folder: Path, count: int, shard_rows: int = 256) -> Corpus:
    """A corpus of `count` chips of 128 px in `folder`, all of them to train on.

    64 places of the sandbox's planet are exported as any corpus is. Every chip is one of them, turned or mirrored
    one of eight ways: pixels keep their neighbours, so what a codec makes of them stays what it was.
    """
    with sandbox_process() as sandbox:
        corpus_cost(sandbox, _DISTINCT, folder / "exported")
    exported = Corpus.open(folder / "exported")
    originals = [replace(chip, split="train") for chip in exported.manifest]
    copies = [
        replace(chip, location=replace(chip.location, id=f"{chip.location.id}-{copy}"))
        for copy in range(-(-count // len(originals))) for chip in originals
    ]  # fmt: skip
    manifest = Manifest.freeze(copies[:count], seed=0)
    manifest.write(folder / MANIFEST)
    corpus = Corpus.create(folder, [exported.modality(name) for name in TWELVE], shard_rows)
    sources = list(_sources(exported, manifest))
    for name in TWELVE:
        _write(corpus, name, exported.read(name, slice(0, len(originals))), sources)
    return corpus


def _sources(exported: Corpus, manifest: Manifest) -> Iterator[tuple[int, int]]:
    """For each chip, the row that it comes from and how it is turned."""
    rows = {chip.location.id: row for row, chip in enumerate(exported.manifest)}
    for chip in manifest:
        original, copy = chip.location.id.rsplit("-", 1)
        yield rows[original], int(copy) % _ORIENTATIONS


def _write(corpus: Corpus, name: str, stored: NDArray[Any], sources: list[tuple[int, int]]) -> None:
    for shard in corpus.shards:
        block = np.stack([turned(stored[row], way) for row, way in sources[shard.slice]])
        corpus.write(shard, name, block, {})


def turned(chip: NDArray[Any], way: int) -> NDArray[Any]:
    """One of the eight orientations of a square chip (bands, y, x); vectors stay as they are."""
    if chip.ndim < 3:
        return chip
    rotated = np.rot90(chip, way % 4, axes=(1, 2))
    return rotated[:, :, ::-1] if way >= 4 else rotated
