"""What a search finds: rows of a matrix with their cosines, the nearest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Neighbours:
    """Positions `rows` (k,) int64 in the matrix that was searched, and cosines `similarity` (k,) float64, falling.

    Equal cosines come in the order of rows.
    """

    rows: NDArray[np.int64]
    similarity: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def among(cls, matrix: NDArray[Any], candidates: NDArray[np.int64], query: NDArray[Any], k: int) -> Neighbours:
        """The `k` nearest to `query` (width,) of the `candidates` (n,) among rows of `matrix`, by exact cosines."""
        candidates = np.sort(candidates)
        similarity = cosines(matrix, candidates, query)
        known = np.isfinite(similarity)
        candidates, similarity = candidates[known], similarity[known]
        order = np.argsort(-similarity, kind="stable")[:k]
        return cls(candidates[order], similarity[order])

    def beginning_with(self, row: int) -> Neighbours:
        """The same, `row` first: a chip is its own nearest neighbour, also where another has the same embedding."""
        at = np.flatnonzero(self.rows == row)
        order = np.concatenate([at, np.delete(np.arange(len(self)), at)])
        return Neighbours(self.rows[order], self.similarity[order])


_BLOCK_ROWS = 4096


def cosines(matrix: NDArray[Any], rows: NDArray[np.int64], query: NDArray[Any]) -> NDArray[np.float64]:
    """Cosines (n,) float64 of `rows` (n,) of a matrix with `query` (width,), whatever the lengths of the vectors.

    Computed row by row in double precision, so that a row has the same cosine in any company.
    """
    direction = np.asarray(query, np.float64) / np.linalg.norm(np.asarray(query, np.float64))
    parts = [_cosines(matrix[rows[at : at + _BLOCK_ROWS]], direction) for at in range(0, len(rows), _BLOCK_ROWS)]
    return np.concatenate(parts) if parts else np.empty(0)


def _cosines(block: NDArray[Any], direction: NDArray[np.float64]) -> NDArray[np.float64]:
    values = np.asarray(block, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((values * direction).sum(axis=1) / np.sqrt((values * values).sum(axis=1)))
