"""The corpus whose chips a store of embeddings is of, and the weights that made it, where they are at hand."""

from __future__ import annotations

from pathlib import Path

from exporters.formats.embeddings.store import EmbeddingStore
from pipeline.corpus import Corpus
from pipeline.corpus_folder import MANIFEST
from pipeline.errors import Fatal
from pipeline.lock import RUNS
from pipeline.manifest import Manifest


def corpus_at_hand(store: EmbeddingStore, folder: Path | None) -> Corpus | None:
    """The corpus in `folder`; without one, that in a folder beside the store; None where there is none.

    Raises `Fatal` for a folder without a corpus, or with another one.
    """
    if folder is not None:
        corpus = Corpus.open(folder)
        store.check_corpus(corpus)
        return corpus
    for path in sorted(store.path.resolve().parent.glob(f"*/{MANIFEST}")):
        if _is_of(path, store):
            return Corpus.open(path.parent)
    return None


def _is_of(manifest: Path, store: EmbeddingStore) -> bool:
    try:
        return store.corpus_digest in Manifest.read(manifest).lineage
    except Fatal:
        return False


def weights_at_hand(store: EmbeddingStore, weights: str | None, corpus: Corpus | None) -> str:
    """An address of the weights: `weights`, the store's own address, or the run of that name in the corpus.

    Raises `Fatal` where there is none.
    """
    if weights:
        return weights
    if "://" in store.model:
        return store.model
    run = corpus.folder / RUNS / store.description.weights if corpus else None
    if run is None or not run.exists():
        raise Fatal(f"a search by an image needs the encoder, {store.description.weights}; say where with --weights.")
    return str(run)
