"""What quantization costs a search: how many of the nearest vectors are still found."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MOST_QUERIES, _MOST_VECTORS = 1000, 20_000


def recall_at(exact: NDArray[np.float32], stored: NDArray[np.float32], nearest: int, seed: int = 0) -> float:
    """The share of each vector's `nearest` others, by cosine of `exact` (rows, width), that `stored` has as well.

    Of up to 20,000 rows without NaN, drawn by `seed`, and up to 1,000 queries among them. NaN for fewer than two rows.
    """
    known = np.flatnonzero(~np.isnan(exact).any(axis=1))
    random = np.random.default_rng(seed)
    rows = random.choice(known, min(len(known), _MOST_VECTORS), replace=False)
    if len(rows) < 2:
        return float("nan")
    queries = np.arange(min(len(rows), _MOST_QUERIES))
    found = [_nearest(_unit(item[rows]), queries, min(nearest, len(rows) - 1)) for item in (exact, stored)]
    return float(np.mean([len(np.intersect1d(one, other)) / len(one) for one, other in zip(*found, strict=True)]))


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0, length, 1), np.float32)


def _nearest(vectors: NDArray[np.float32], queries: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    cosines = vectors[queries] @ vectors.T
    cosines[np.arange(len(queries)), queries] = -np.inf
    return np.argpartition(-cosines, count - 1, axis=1)[:, :count]
