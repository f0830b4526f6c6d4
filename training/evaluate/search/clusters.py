"""Embeddings in groups that are alike: k-means, from starts drawn with a seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_FITTED_ON = 20_000  # rows; the centres of more rows are hardly others
_MOST_ROUNDS = 30
_BLOCK_ROWS = 16_384
NO_CLUSTER = -1


def clusters(values: NDArray[np.floating], count: int, seed: int = 0) -> NDArray[np.int64]:
    """The cluster (n,) of each of `values` (n, width): 0 is the largest; `NO_CLUSTER` for a row with a NaN.

    At most `count` clusters, fewer where there are fewer different rows. The centres are fitted to at most 20,000 rows,
    drawn with `seed`; equal values and seeds give equal clusters. Reads `values` in blocks, so they may be
    memory-mapped float16.
    """
    result = np.full(len(values), NO_CLUSTER, np.int64)
    known = np.flatnonzero(np.isfinite(np.asarray(values[:, 0], np.float32)))
    if not len(known):
        return result
    random = np.random.default_rng(seed)
    drawn = known if len(known) <= _FITTED_ON else np.sort(random.choice(known, _FITTED_ON, replace=False))
    centres = _fitted(np.asarray(values[drawn], np.float32), count, random)
    for rows in np.split(known, range(_BLOCK_ROWS, len(known), _BLOCK_ROWS)):
        result[rows] = _nearest(np.asarray(values[rows], np.float32), centres)[0]
    result[known] = _by_size(result[known])
    return result


def _fitted(values: NDArray[np.float32], count: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Centres (k, width): Lloyd's rounds until no row changes its cluster; a centre without rows stays."""
    centres = _starts(values, count, random)
    before = np.zeros(0, np.int64)
    for _ in range(_MOST_ROUNDS):
        own = _nearest(values, centres)[0]
        if np.array_equal(own, before):
            break
        before = own
        for index in range(len(centres)):
            if (mine := values[own == index]).size:
                centres[index] = mine.mean(axis=0, dtype=np.float64)
    return centres


def _starts(values: NDArray[np.float32], count: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Starts as k-means++ draws them: each row with the square of its distance from those drawn before."""
    drawn = [int(random.integers(len(values)))]
    distance = _nearest(values, values[drawn])[1]
    while len(drawn) < count and (total := float(distance.sum(dtype=np.float64))) > 0:
        drawn.append(int(random.choice(len(values), p=distance.astype(np.float64) / total)))
        distance = np.minimum(distance, _nearest(values, values[drawn[-1:]])[1])
        distance[drawn] = 0  # what rounding leaves of a distance of a row from itself
    return values[drawn].copy()


def _nearest(
    values: NDArray[np.float32], centres: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The nearest centre of each row, and the square of the distance from it."""
    squares = (
        (values**2).sum(axis=1, keepdims=True) - 2 * values @ centres.T + (centres**2).sum(axis=1)
    )  # fmt: skip
    nearest = squares.argmin(axis=1)
    return nearest, np.maximum(np.take_along_axis(squares, nearest[:, None], axis=1)[:, 0], 0)


def _by_size(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same clusters, numbered from the largest on without gaps; of equal ones, the one that comes first."""
    present, first, codes, sizes = np.unique(codes, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    rank = np.empty(len(present), np.int64)
    rank[order] = np.arange(len(present))
    return rank[codes]
