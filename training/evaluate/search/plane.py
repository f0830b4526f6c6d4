"""Embeddings for the eye: their three main directions as colours, and a plane in which neighbours stay neighbours."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PERCENTILES = (2.0, 98.0)
_PERPLEXITY, _LEAST = 30.0, 4
_FIRST = 50  # main directions that t-SNE and UMAP look at, as is usual: the others are mostly noise
MOST_POINTS = 5000


def principal(values: NDArray[Any], count: int) -> NDArray[np.float64]:
    """Coordinates (n, count) float64 of `values` (n, width) along their main directions, the widest first; 0 for none.

    NaN for a row that has one. The sign of a direction is such that its largest weight is positive, so that equal
    values give equal coordinates on any machine. Reads `values` in parts, so they may be memory-mapped float16.
    """
    known = np.flatnonzero(np.isfinite(np.asarray(values[:, 0], np.float32)))
    result = np.full((len(values), count), np.nan)
    if not len(known):
        return result
    result[known] = 0
    middle, directions = _directions(values, known, min(count, values.shape[1]))
    for rows in _parts(known):
        result[rows, : directions.shape[1]] = (np.asarray(values[rows], np.float64) - middle) @ directions
    return result


def _directions(
    values: NDArray[Any], known: NDArray[np.int64], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    total, products = np.zeros(values.shape[1]), np.zeros((values.shape[1], values.shape[1]))
    for rows in _parts(known):
        part = np.asarray(values[rows], np.float64)
        total, products = total + part.sum(axis=0), products + part.T @ part
    middle = total / len(known)
    _, vectors = np.linalg.eigh(products / len(known) - np.outer(middle, middle))
    directions = vectors[:, ::-1][:, :count]
    largest = directions[np.abs(directions).argmax(axis=0), np.arange(count)]
    return middle, directions * np.where(largest < 0, -1, 1)


def _parts(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return np.split(rows, range(65_536, len(rows), 65_536))


def colours(values: NDArray[Any]) -> NDArray[np.float64]:
    """Red, green and blue (n, 3), 0 to 1, of `values` (n, width): their three main directions; NaN as in `values`.

    Each is stretched between its 2nd and 98th percentile.
    """
    main = principal(values, 3)
    known = np.isfinite(main[:, 0])
    if not known.any():
        return main
    low, high = np.percentile(main[known], _PERCENTILES, axis=0)
    flat = high <= low
    return np.where(flat & known[:, None], 0.5, np.clip((main - low) / np.where(flat, 1, high - low), 0, 1))


def plane(values: NDArray[Any], seed: int = 0) -> tuple[str, NDArray[np.float64]]:
    """The name of a method, and its coordinates (n, 2) of `values` (n, width) without NaN.

    UMAP where it is installed, else t-SNE of scikit-learn. Raises `ValueError` for fewer than 4 rows.
    """
    if len(values) < _LEAST:
        raise ValueError(f"{len(values)} embeddings are too few for a plane; it needs {_LEAST}")
    main = principal(values, min(_FIRST, values.shape[1]))
    return ("UMAP", _umap(main, seed)) if find_spec("umap") else ("t-SNE", tsne(main, seed))


def tsne(values: NDArray[Any], seed: int = 0) -> NDArray[np.float64]:
    """Coordinates (n, 2) of `values` (n, width) by t-SNE; the same for the same seed."""
    from sklearn.manifold import TSNE

    perplexity = min(_PERPLEXITY, (len(values) - 1) / 3)
    return np.asarray(TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(values), np.float64)


def _umap(values: NDArray[Any], seed: int) -> NDArray[np.float64]:
    from umap import UMAP

    neighbours = min(15, len(values) - 1)
    return np.asarray(UMAP(n_neighbors=neighbours, random_state=seed).fit_transform(values), np.float64)
