"""`geocorpus probe`: the table of an encoder's probe scores on a layer, or an owner's column, of a corpus."""

from __future__ import annotations

from pathlib import Path

from flows.extras import require
from flows.owning_corpus import corpus_of
from pipeline.corpus import Corpus
from pipeline.lock import RUNS


def probe(weights: str, label: str, corpus_folder: Path | None, most_chips: int) -> str:
    """The table for an encoder (a run folder, or anything that `load_encoder` takes) and a layer of a corpus.

    Without `corpus_folder` the corpus is the one whose `runs/` holds the run. Raises `Fatal` when PyTorch is not
    installed, and when the corpus, the layer or the encoder does not exist.
    """
    require("train", "probing")
    from training.data.label import own_label
    from training.evaluate.probed import probe_layer
    from training.weights.weights import load_encoder

    corpus = Corpus.open(corpus_folder or corpus_of(weights, RUNS))
    own_label(corpus, label)
    return probe_layer(corpus, load_encoder(weights), label, most_chips, most_chips).table()
