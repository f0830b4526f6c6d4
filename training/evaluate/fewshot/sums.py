"""What a score needs of predictions, added up by geographic block, so that resampled blocks cost no second look."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Sums = NDArray[np.float64]


def sums_of_numbers(truth: NDArray[np.float64], predicted: NDArray[np.float64], blocks: NDArray[np.int64]) -> Sums:
    """Per block: count, sum, sum of squares and sum of squared errors, (blocks, 4) float64.

    `truth` and `predicted` are (tests,); truths are counted from their mean, which changes no score.
    """
    centred = truth - truth.mean()
    parts = (np.ones(len(truth)), centred, centred**2, (truth - predicted) ** 2)
    return np.stack([np.bincount(blocks, part) for part in parts], axis=1)


def sums_of_classes(truth: NDArray[Any], predicted: NDArray[Any], blocks: NDArray[np.int64], classes: int) -> Sums:
    """Per block the counts of (truth, prediction), (blocks, classes * classes) float64."""
    cells = classes * classes
    flat = np.bincount(blocks * cells + truth * classes + predicted, minlength=(int(blocks.max()) + 1) * cells)
    return flat.reshape(-1, cells).astype(np.float64)
