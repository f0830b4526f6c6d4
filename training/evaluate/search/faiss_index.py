"""The same search through FAISS, where it is installed: all vectors in memory as float32, for many queries at once."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import NotInstalled
from training.evaluate.search.neighbours import Neighbours
from training.evaluate.search.unit_rows import HALF

_BLOCK_ROWS = 65_536
_MORE = 16  # asked for beside the k nearest at first


class FaissIndex:
    """A flat index of the known rows of `matrix` (n, width), as `unit_rows` gives it; raises `NotInstalled`.

    It takes 4 bytes a number in memory, and the time to read them all once before the first query; after that many
    queries together cost less than by `nearest`. Answers are the same: FAISS chooses candidates, and their cosines are
    computed again.
    """

    def __init__(self, matrix: NDArray[np.float16]) -> None:
        if find_spec("faiss") is None:
            raise NotInstalled("this search needs FAISS; install it with: pip install faiss-cpu.")
        import faiss

        self._matrix = matrix
        self._known = np.flatnonzero(np.isfinite(matrix[:, 0])) if len(matrix) else np.empty(0, np.int64)
        self._index = faiss.IndexFlatIP(matrix.shape[1])
        for start in range(0, len(self._known), _BLOCK_ROWS):
            self._index.add(np.asarray(matrix[self._known[start : start + _BLOCK_ROWS]], np.float32))

    def nearest(self, queries: NDArray[Any], k: int) -> list[Neighbours]:
        """As `nearest` with this matrix: the `k` rows with the largest cosines to each of `queries` (q, width)."""
        queries = np.asarray(queries, np.float32)
        units = queries / np.linalg.norm(queries, axis=1, keepdims=True)
        return [Neighbours.among(self._matrix, self._candidates(unit, k), unit, k) for unit in units]

    def _candidates(self, unit: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """Rows that are surely all whose cosine might be among the k largest: so many that the last one is far off."""
        margin, count = 2 * (HALF + 2.0**-23 * len(unit)), k + _MORE
        while True:
            products, places = self._index.search(unit[None], min(count, len(self._known)) or 1)
            found = places[0] >= 0
            if count >= len(self._known) or products[0, -1] < products[0, k - 1] - 2 * margin:
                return np.asarray(self._known[places[0][found]])
            count *= 4
