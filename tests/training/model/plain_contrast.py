"""The contrastive loss in plain NumPy loops over samples, pairs and candidates: a second implementation."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray


def plain_contrast(views: NDArray, present: NDArray, scale: float) -> tuple[float, list[float]]:
    """The total, and the mean of each pair over the samples that have it, of float64 `views` (rows, sensors, width)."""
    rows, sensors = present.shape
    of_samples: list[list[float]] = [[] for _ in range(rows)]
    of_pairs = []
    for one, other in combinations(range(sensors), 2):
        errors = []
        for row in range(rows):
            if present[row, one] and present[row, other]:
                there = _surprise(views, present, scale, row, one, other)
                back = _surprise(views, present, scale, row, other, one)
                errors.append((there + back) / 2)
                of_samples[row].append(errors[-1])
        of_pairs.append(float(np.mean(errors)) if errors else 0.0)
    means = [float(np.mean(errors)) for errors in of_samples if errors]
    return (float(np.mean(means)) if means else 0.0), of_pairs


def _surprise(views: NDArray, present: NDArray, scale: float, row: int, one: int, other: int) -> float:
    """Minus the logarithm of the share of the right view of `other` among all that there are."""
    scores = [scale * float(views[row, one] @ views[other_row, other])
              for other_row in range(len(views)) if present[other_row, other]]  # fmt: skip
    right = scale * float(views[row, one] @ views[row, other])
    return float(np.log(np.sum(np.exp(np.array(scores) - right))))
