"""Embeddings in the explorer: where the chips lie along their main directions, and which look like one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flows.searching import Question, Search
from flows.viewer.column import Column
from pipeline.corpus import Corpus
from pipeline.errors import Fatal

_DIRECTIONS, _NEIGHBOURS = 3, 12


@dataclass(frozen=True)
class Likeness:
    """Embeddings of the chips of a corpus, of one view of a store."""

    search: Search
    corpus: Corpus

    @classmethod
    def open(cls, path: Path, corpus: Corpus) -> Likeness:
        """What `geocorpus embed --to embeddings --per chip` wrote of this corpus; raises `Fatal` for anything else."""
        search = Search.open(path, None)
        if search.store.corpus_digest not in corpus.manifest.lineage | {corpus.manifest.digest}:
            raise Fatal(f"{path} is of another corpus than {corpus.folder}; embed this one.")
        return cls(search, corpus)

    def columns(self) -> list[Column]:
        """Coordinates along the main directions, the widest first; NaN for chips without an embedding."""
        from training.evaluate.search.plane import principal

        along = np.full((len(self.corpus.manifest), _DIRECTIONS), np.nan, np.float32)
        along[self.search.store.rows] = principal(self.search.matrix(), _DIRECTIONS)
        return [
            Column(f"likeness:{number}", f"embedding, main direction {number}", "number", values)
            for number, values in enumerate(along.T.copy(), 1)
        ]

    def near(self, row: int) -> list[dict[str, Any]]:
        """The chips that look most like one, the nearest first, for JSON.

        Raises `Fatal` for one without an embedding.
        """
        if row not in self.search.store.rows:
            raise Fatal(f"{self.search.store.path} has no chip {row}; embed all chips.")
        answer = self.search.answer(Question(chip=self.corpus.manifest[row].location.id), _NEIGHBOURS)
        pairs = zip(answer.chips.rows.tolist(), answer.chips.score.tolist(), strict=True)
        return [{"row": near, "similarity": round(score, 4)} for near, score in pairs if near != row]
