"""Embeddings that `geocorpus embed --to embeddings` has written already, as features to compare."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from exporters.formats.embeddings.store import EmbeddingStore
from flows.fewshot.competitor import Competitor, views_of
from flows.fewshot.plan import Named
from pipeline.corpus import Corpus
from pipeline.errors import Fatal


def stored_views(named: Named, corpus: Corpus, rows: NDArray[np.int64]) -> Iterator[Competitor]:
    """The views of a store, the whole one first; NaN in those of manifest `rows` that it has not.

    Raises `Fatal` for a store of another corpus, or one with a vector for each patch.
    """
    store = EmbeddingStore.open(named.source)
    store.check_corpus(corpus)
    there = np.isin(rows, store.rows)
    vectors = {}
    for view in store.views:
        values = store.values(view)
        if values.ndim != 2:
            raise Fatal(f"{named.source} has a vector for each patch; give embeddings of chips.")
        vectors[view] = np.full((len(rows), values.shape[1]), np.nan, np.float32)
        vectors[view][there] = values[np.searchsorted(store.rows, rows[there])]
    return views_of(named.name, vectors)
