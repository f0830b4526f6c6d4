"""Which rows of a corpus have any data of a layer, as its ledger knows it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.corpus import Corpus


def has_data(corpus: Corpus, name: str, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each of the manifest `rows` (rows,) has any data of the layer, (rows,) bool."""
    missing = [row for entry in corpus.findings(name) for row in entry.missing]
    return ~np.isin(rows, np.array(missing, dtype=np.int64))
