"""The explorer's free search: rows whose id, or the id of one of whose scenes, has a text in it; and one chip's row."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.chip import ROLES
from pipeline.corpus import Corpus
from pipeline.errors import Fatal

SEARCHED = ("id", *(f"{role}_id" for role in ROLES))


def row_of(corpus: Corpus, text: str) -> int:
    """The row of the chip with an id, or, where no id is written so, of that number. Raises `Fatal` for neither."""
    found = row_with(corpus, text)
    if found is not None:
        return found
    if text.isascii() and text.isdigit() and int(text) < len(corpus.manifest):
        return int(text)
    raise Fatal(f"{corpus.folder} has no chip {text!r}; its ids are like {corpus.manifest[0].location.id!r}.")


def row_with(corpus: Corpus, chip_id: str) -> int | None:
    """The row of the chip with an id, or None."""
    found = np.flatnonzero(corpus.manifest.column("id") == chip_id)
    return int(found[0]) if len(found) else None


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
