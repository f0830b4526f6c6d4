"""Embeddings in the explorer: where chips lie along their main directions, their clusters, and which look like one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.searching import Question, Search
from flows.viewer.column import Column, Made, small
from pipeline.corpus import Corpus
from pipeline.errors import Fatal

CLUSTERS = 12  # without another number
_DIRECTIONS, _NEIGHBOURS = 3, 12
_NO_EMBEDDING = "no embedding"


@dataclass(frozen=True)
class Likeness:
    """Embeddings of the chips of a corpus, of one view of a store."""

    search: Search
    corpus: Corpus
    clusters: int = CLUSTERS

    @classmethod
    def open(cls, path: Path, corpus: Corpus, clusters: int = CLUSTERS) -> Likeness:
        """What `geocorpus embed --to embeddings --per chip` wrote of this corpus, to be sorted into `clusters`.

        Raises `Fatal` for anything else.
        """
        search = Search.open(path, None)
        search.store.check_corpus(corpus)
        return cls(search, corpus, clusters)

    def columns(self) -> list[Made]:
        """Coordinates along the main directions, the widest first, and the clusters."""
        directions = [Made(f"likeness:{number}", f"embedding, main direction {number}", self._direction(number))
                      for number in range(1, _DIRECTIONS + 1)]  # fmt: skip
        return [Made("cluster", "embedding, cluster", self._cluster), *directions]

    def _direction(self, number: int) -> Callable[[str, str], Column]:
        return lambda name, title: Column(name, title, "number", self._along[:, number - 1].copy())

    @cached_property
    def _along(self) -> NDArray[np.float32]:
        """(rows, directions); NaN for chips without an embedding."""
        from training.evaluate.search.plane import principal

        along = np.full((len(self.corpus.manifest), _DIRECTIONS), np.nan, np.float32)
        along[self.search.store.rows] = principal(self.search.matrix(), _DIRECTIONS)
        return along

    def _cluster(self, name: str, title: str) -> Column:
        """The largest first; chips without an embedding last, where there are any."""
        from training.evaluate.search.clusters import clusters

        codes = np.full(len(self.corpus.manifest), -1)
        codes[self.search.store.rows] = clusters(self.search.matrix(), self.clusters)
        found = int(codes.max()) + 1
        labels = [f"cluster {number}" for number in range(1, found + 1)]
        if (codes < 0).any():
            labels.append(_NO_EMBEDDING)
            codes[codes < 0] = found
        return Column(name, title, "class", small(codes, len(labels)), tuple(labels))

    def near(self, row: int) -> list[dict[str, Any]]:
        """The chips that look most like one, the nearest first, for JSON.

        Raises `Fatal` for one without an embedding.
        """
        if row not in self.search.store.rows:
            raise Fatal(f"{self.search.store.path} has no chip {row}; embed all chips.")
        answer = self.search.answer(Question(chip=self.corpus.manifest[row].location.id), _NEIGHBOURS)
        pairs = zip(answer.chips.rows.tolist(), answer.chips.score.tolist(), strict=True)
        return [{"row": near, "similarity": round(score, 4)} for near, score in pairs if near != row]
