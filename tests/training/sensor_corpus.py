"""A tiny corpus of three sensors with gaps: chips without one, bands without data, patches without any."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.corpus import Corpus
from tests.training.corpora import CONFIG, ECHO, GROUND, LIGHT, make_corpus
from training.config import PretrainConfig

SENSORS = ("light", "echo", "ground")
CONTRASTIVE = PretrainConfig(
    method="contrastive", options={"tower": "zepto", "embedding_width": 16}, inputs=SENSORS, init_std="fan-in",
    image_px=24, patch_px=8, batch_size=8, steps=6, blr=0.05, checkpoint_every=2, read_rows=5, threads=1, log_every=1,
    pictures_every=0, micro_batch=3,
)  # fmt: skip
assert CONFIG.image_px == CONTRASTIVE.image_px


def make_sensors(folder: Path, count: int = 20) -> Corpus:
    """As `make_corpus`, with `echo` absent in every fourth chip and in the lower half of others."""
    corpus = make_corpus(folder, count, (LIGHT, ECHO, GROUND))
    for shard in corpus.shards:
        block = corpus.read("echo", slice(shard.start, shard.stop))
        rows = np.arange(shard.start, shard.stop)
        block[rows % 4 == 1] = np.nan
        block[rows % 4 == 2, :, 16:] = np.nan
        corpus.write(shard, "echo", block, {int(row): "no pass" for row in rows[rows % 4 == 1]})
    return corpus
