"""`geocorpus probe`: the table of an encoder's probe scores on a layer of a corpus."""

from __future__ import annotations

from pathlib import Path

from flows.extras import require
from pipeline.corpus import Corpus
from pipeline.errors import Fatal


def probe(weights: str, label: str, corpus_folder: Path | None, most_chips: int) -> str:
    """The table for an encoder (a run folder, or anything that `load_encoder` takes) and a layer of a corpus.

    Without `corpus_folder` the corpus is the one whose `runs/` holds the run. Raises `Fatal` when PyTorch is not
    installed, and when the corpus, the layer or the encoder does not exist.
    """
    require("train", "probing")
    from training.evaluate.probed import probe_layer
    from training.weights.weights import load_encoder

    corpus = Corpus.open(corpus_folder or _corpus_of(weights))
    corpus.modality(label)
    return probe_layer(corpus, load_encoder(weights), label, most_chips, most_chips).table()


def _corpus_of(weights: str) -> Path:
    run = Path(weights)
    if not run.is_dir() or run.resolve().parent.name != "runs":
        raise Fatal(f"{weights} is not in the runs of a corpus; say which corpus with --corpus FOLDER.")
    return run.resolve().parent.parent
