"""A chip gone bad on the disk, after the statistics were taken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.corpus import Corpus
from pipeline.modality import Modality
from tests.training.corpora import ALL, ECHO, chips_of, make_corpus


def with_bad_chip(
    folder: Path, row: int, value: float = np.inf, layer: Modality = ECHO, modalities: tuple[Modality, ...] = ALL
) -> Corpus:
    """The corpus of `make_corpus` with `value` in the whole first band of `layer` at manifest `row`."""
    corpus = make_corpus(folder, modalities=modalities)
    shard = corpus.shards[row // corpus.shard_rows]
    sane = corpus.ledger.read(layer.name, shard.index)
    block = chips_of(layer, corpus.manifest, shard.rows)
    block[row - shard.start, 0] = value
    with np.errstate(all="ignore"):
        corpus.write(shard, layer.name, block, {})
    corpus.ledger.mark(replace(corpus.ledger.read(layer.name, shard.index), summary=sane.summary))
    return Corpus.open(folder)
