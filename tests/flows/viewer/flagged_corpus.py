"""A corpus of radar alone in which single chips have faults of every kind."""

from __future__ import annotations

from pathlib import Path

from exporters.modalities.sentinel1 import sentinel1
from exporters.quality.inspection import inspect
from pipeline.corpus import Corpus
from tests.exporters.quality.test_scene_coverage import BANDS, block_of, corpus_of

CHIPS = 40


def make_flagged(folder: Path) -> Corpus:
    """Of 40 chips, 20 with an edge of the ascending scene; three chips with a fault each, and one without data."""
    made = corpus_of(folder, [("DV", "DV")] * CHIPS)
    block, shard = block_of(made), made.shards[0]
    block[::2, :2, :, 12:] = sentinel1.nodata
    block[3, BANDS.index("VH_descending")] = sentinel1.nodata
    block[5, 4:] = sentinel1.nodata
    block[7, BANDS.index("VV_descending"), :, 13:] = -4100
    block[9] = sentinel1.nodata
    missing = {"sentinel1": {9: "no scene"}}
    findings = inspect(made, shard, {"sentinel1": block}, missing)
    made.write(shard, "sentinel1", block, missing["sentinel1"], findings["sentinel1"])
    return made
