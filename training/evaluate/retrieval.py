"""Retrieval between sensors: is the nearest view by another sensor that of the same chip?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Z = 1.96  # Normal quantile of a two-sided interval of 95 %.


@dataclass(frozen=True)
class Recall:
    """How often the nearest of `candidates` views is the right one: `found` (anchors,) bool, one of a chip each."""

    found: NDArray[np.bool_]
    candidates: int

    @property
    def score(self) -> float:
        """Recall at 1."""
        return float(self.found.mean())

    @property
    def chance(self) -> float:
        """The recall of a random choice."""
        return 1 / self.candidates

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % score interval of the recall (Wilson 1927); chips are taken as independent."""
        count, share = len(self.found), self.score
        middle = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
        half = _Z / (1 + _Z**2 / count) * np.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
        return float(max(0.0, middle - half)), float(min(1.0, middle + half))


def recall_at_1(anchors: NDArray[np.float32], candidates: NDArray[np.float32]) -> Recall:
    """For unit vectors of the same chips by two sensors, (chips, width) both: is the nearest candidate its own?

    A tie with another chip is a miss. Raises `ValueError` for other shapes, or no chips.

    >>> import numpy as np
    >>> views = np.eye(3, dtype=np.float32)
    >>> recall_at_1(views, views[[0, 2, 1]]).score
    0.3333333333333333
    """
    if anchors.shape != candidates.shape or anchors.ndim != 2 or not len(anchors):
        raise ValueError(f"views of shapes {anchors.shape} and {candidates.shape} are not of the same chips")
    cosines = anchors @ candidates.T
    own = cosines.diagonal().copy()
    np.fill_diagonal(cosines, -np.inf)
    return Recall(own > cosines.max(axis=1), len(candidates))
