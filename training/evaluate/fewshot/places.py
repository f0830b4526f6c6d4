"""Where labels are drawn and where predictions are tested: rows of two splits, the test rows in geographic blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_LARGEST_DEG = 8.0
_SMALLEST_DEG = 1 / 64
_WANTED_BLOCKS = 30
FEWEST_CHIPS, FEWEST_BLOCKS = 30, 10  # from which a bootstrap over them says something


@dataclass(frozen=True)
class Places:
    """Indices of the rows to draw from, `train` (n,), and to test on, `test` (m,); `blocks` (m,) int64 from 0."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]
    blocks: NDArray[np.int64]

    @property
    def block_count(self) -> int:
        """How many blocks there are."""
        return int(self.blocks.max()) + 1 if len(self.blocks) else 0

    @property
    def few(self) -> str:
        """A sentence where tests are too few for intervals, else empty."""
        chips, blocks = len(self.test), self.block_count
        if chips >= FEWEST_CHIPS and blocks >= FEWEST_BLOCKS:
            return ""
        few = f"below {FEWEST_CHIPS} chips or {FEWEST_BLOCKS} blocks intervals mean little"
        return f"Only {chips} test chips in {blocks} blocks: {few}. "

    def among(self, train: NDArray[np.bool_], test: NDArray[np.bool_]) -> Places:
        """Only rows where `train`, or `test`, is True; both have a value for each row that there is."""
        kept = test[self.test]
        blocks = np.unique(self.blocks[kept], return_inverse=True)[1]
        return Places(self.train[train[self.train]], self.test[kept], blocks.astype(np.int64))


def blocks_of(lonlat: NDArray[np.float64], wanted: int = _WANTED_BLOCKS) -> tuple[NDArray[np.int64], float]:
    """Blocks (n,) int64 of places `lonlat` (n, 2) in degrees, and the side of a cell in degrees of latitude.

    Cells of a grid, about as wide as they are high, as large as leaves at least `wanted` of them with places.

    >>> import numpy as np
    >>> blocks, cell_deg = blocks_of(np.array([[0.1, 0.1], [0.2, 0.1], [40.0, 0.1]]), wanted=2)
    >>> blocks.tolist(), cell_deg
    ([0, 0, 1], 8.0)
    """
    cell_deg = _LARGEST_DEG
    while (blocks := _cells(lonlat, cell_deg)).max(initial=-1) + 1 < wanted and cell_deg > _SMALLEST_DEG:
        cell_deg /= 2
    return blocks, cell_deg


def _cells(lonlat: NDArray[np.float64], cell_deg: float) -> NDArray[np.int64]:
    y = np.floor(lonlat[:, 1] / cell_deg).astype(np.int64)
    width_deg = cell_deg / np.maximum(np.cos(np.radians((y + 0.5) * cell_deg)), 0.01)
    x = np.floor(lonlat[:, 0] / width_deg).astype(np.int64)
    return np.unique(np.column_stack([y, x]), axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
