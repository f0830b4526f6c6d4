"""The regions of chips: a column of the manifest, of the owner's or one that every manifest has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.corpus import Corpus
from pipeline.errors import Fatal, unknown_name

if TYPE_CHECKING:
    from training.evaluate.fewshot.transfer import Regions

COLUMNS = ("stratum", "biome", "biome_name", "ecoregion", "ecoregion_name", "realm")
_MOST = 40


def regions_of(corpus: Corpus, column: str, rows: NDArray[np.int64]) -> Regions:
    """The regions of manifest `rows` by a column; empty cells are in none.

    Raises `Fatal` for a column that there is not, or one with a single value or more than 40 of them.
    """
    from training.evaluate.fewshot.transfer import Regions

    known = (*corpus.manifest.own_columns, *COLUMNS)
    if column not in known:
        raise unknown_name("column of regions", column, known)
    cells = ["" if cell is None or cell != cell else str(cell) for cell in corpus.manifest.column(column)[rows]]
    names = sorted(set(cells) - {""})
    if not 1 < len(names) <= _MOST:
        raise Fatal(f"column {column!r} has {len(names)} different values, and regions must be 2 to {_MOST} of them.")
    index = {name: number for number, name in enumerate(names)}
    return Regions(tuple(names), np.array([index.get(cell, -1) for cell in cells], np.int64))
