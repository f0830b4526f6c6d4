"""Exact nearest rows of a memory-mapped float16 matrix: products choose candidates, exact cosines rank them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.evaluate.search.neighbours import Neighbours
from training.evaluate.search.unit_rows import HALF

BLOCK_ROWS = 4096  # 4 MiB of 512 columns: a block stays in the cache of a core while all queries see it
_QUERIES = 16  # at once, so that their products with a million rows take some 40 MB
# By how much a rough product may differ from the cosine: the lengths of the rows, the query and the product itself are
# rounded to float16, and sums are float32.
_ROUGH, _SUM = 3 * HALF, 2.0**-23


def nearest(
    matrix: NDArray[np.float16], queries: NDArray[Any], k: int, block_rows: int = BLOCK_ROWS
) -> list[Neighbours]:
    """The `k` rows of `matrix` (n, width), as `unit_rows` gives it, with the largest cosines to each of `queries`.

    `queries` are (q, width) of any length. Fewer than `k` where fewer rows are known. The answer is that of cosines in
    double precision over the whole matrix, whatever `block_rows`; the matrix, which may be memory-mapped, is read
    once for 16 queries. Raises `ValueError` for shapes that do not fit and for a query that has no direction.

    >>> import numpy as np
    >>> from training.evaluate.search.unit_rows import unit_rows
    >>> found = nearest(unit_rows(np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])), np.array([[2.0, 0.1]]), k=2)[0]
    >>> found.rows
    array([0, 1])
    """
    queries = _checked(matrix, queries, k)
    parts = [queries[at : at + _QUERIES] for at in range(0, len(queries), _QUERIES)]
    return [found for part in parts for found in _nearest(matrix, part, k, block_rows)]


def _checked(matrix: NDArray[Any], queries: NDArray[Any], k: int) -> NDArray[np.float32]:
    queries = np.asarray(queries, np.float32)
    if matrix.ndim != 2 or queries.ndim != 2 or queries.shape[1] != matrix.shape[1] or k < 1:
        raise ValueError(f"queries {queries.shape} do not fit a matrix {matrix.shape}, or k = {k} is below 1")
    lengths = np.linalg.norm(queries, axis=1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise ValueError("a query has no direction: it is NaN, infinite or zero")
    return np.asarray(queries / lengths)


def _nearest(matrix: NDArray[np.float16], queries: NDArray[np.float32], k: int, block_rows: int) -> list[Neighbours]:
    rough = rough_products(matrix, queries, block_rows)
    return [_among(matrix, part, query, k) for part, query in zip(rough, queries, strict=True)]


def _among(matrix: NDArray[np.float16], rough: Tensor, query: NDArray[np.float32], k: int) -> Neighbours:
    margin = _ROUGH + _SUM * matrix.shape[1]
    found = Neighbours.among(matrix, _candidates(rough, k, margin), query, k)
    error = np.abs(rough[torch.from_numpy(found.rows)].double().numpy() - found.similarity)
    if len(error) and error.max() > margin:  # a PyTorch whose sums of float16 are not float32: they choose nothing
        return Neighbours.among(matrix, np.arange(len(matrix)), query, k)
    return found


def _candidates(rough: Tensor, k: int, margin: float) -> NDArray[np.int64]:
    """Rows whose rough product is so near to the k-th largest that their cosine might be among the k largest."""
    least = torch.topk(rough, min(k, len(rough))).values[-1] if len(rough) else torch.tensor(0.0)
    return np.asarray(torch.nonzero(rough >= float(least) - 2 * margin).flatten().numpy())


def rough_products(matrix: NDArray[np.float16], queries: NDArray[np.float32], block_rows: int) -> Tensor:
    """Products (q, n) float16 of `queries` (q, width) float32 with all rows, -inf for NaN; by all threads of torch."""
    halves = torch.from_numpy(queries).half()
    result = torch.empty((len(queries), len(matrix)), dtype=torch.float16)
    threads = max(1, torch.get_num_threads())
    edges = np.linspace(0, len(matrix), threads + 1).astype(int)
    spans = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(partial(_fill, matrix, halves, result, block_rows), spans))
    return result.nan_to_num_(nan=-np.inf)


def _fill(matrix: NDArray[np.float16], halves: Tensor, result: Tensor, block_rows: int, span: tuple[int, int]) -> None:
    for start in range(*span, block_rows):
        stop = min(start + block_rows, span[1])
        block = torch.from_numpy(matrix[start:stop])
        for query, row in zip(halves, result, strict=True):
            torch.mv(block, query, out=row[start:stop])
