"""The explorer's free search: rows whose id, or the id of one of whose scenes, has a text in it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.chip import ROLES
from pipeline.corpus import Corpus

SEARCHED = ("id", *(f"{role}_id" for role in ROLES))


def rows_with(corpus: Corpus, text: str) -> NDArray[np.int64]:
    """Ascending rows with `text` in one of `SEARCHED`, whatever its case; a number is also that row."""
    found = np.zeros(len(corpus.manifest), dtype=bool)
    for name in SEARCHED:
        cells = pa.array(corpus.manifest.column(name), pa.string(), from_pandas=True)
        inside = pc.match_substring(cells, text, ignore_case=True)
        found |= pc.fill_null(inside, False).to_numpy(zero_copy_only=False)
    if text.isascii() and text.isdigit() and int(text) < len(found):
        found[int(text)] = True
    return np.flatnonzero(found)
