"""Chips of a corpus that are in earlier ones already, by their ids or the ground that they cover."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from exporters.formats.corpora.footprints import Footprints, overlap
from pipeline.corpus import Corpus
from pipeline.errors import Fatal


def first_of_each(corpora: Sequence[Corpus], grounds: Sequence[Footprints]) -> list[NDArray[np.bool_]]:
    """For every corpus which of its chips (n,) repeat none of an earlier corpus that is kept.

    `grounds` are the squares of all chips of each.
    """
    kept: list[NDArray[np.bool_]] = []
    for number, (corpus, ground) in enumerate(zip(corpora, grounds, strict=True)):
        mask = np.ones(len(corpus.manifest), dtype=bool)
        for earlier, other, theirs in zip(corpora[:number], grounds[:number], kept, strict=True):
            mask &= ~(_has_id_in(corpus, earlier, theirs) | _overlaps(ground, other[theirs]))
        kept.append(mask)
    return kept


def refuse_repeated(corpora: Sequence[Corpus], kept: Sequence[NDArray[np.bool_]]) -> None:
    """Raise `Fatal` with the first corpus that repeats chips."""
    for corpus, mask in zip(corpora, kept, strict=True):
        if not mask.all():
            row, count = int(np.argmin(mask)), int((~mask).sum())
            place = f"{corpus.manifest[row].location.id} (row {row})"
            raise Fatal(
                f"{count} chips of {corpus.folder} have the place of a chip of a corpus named before, or overlap one, "
                f"as {place}; --keep-first leaves them out."
            )


def _has_id_in(corpus: Corpus, earlier: Corpus, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which chips (n,) of a corpus have the id of a `kept` one of an earlier corpus."""
    ids = pd.Index(corpus.manifest.column("id"))
    return np.asarray(ids.isin(pd.Index(earlier.manifest.column("id")[kept])))


def _overlaps(ground: Footprints, earlier: Footprints) -> NDArray[np.bool_]:
    """Which squares (n,) have ground in common with earlier ones."""
    found = np.zeros(len(ground), dtype=bool)
    for rows, others in ground.near(earlier, 0.0):
        found[rows[overlap(ground[rows], earlier[others])]] = True
    return found
