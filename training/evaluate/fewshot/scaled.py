"""Features in units of the draw's standard deviation: what every model but a forest gets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def scaled(train: NDArray[np.floating], test: NDArray[np.floating]) -> tuple[Floats, Floats]:
    """Both with the mean 0 and the standard deviation 1 of each column of `train`; a constant column becomes 0."""
    exact = train.astype(np.float64)
    mean, std = exact.mean(axis=0), exact.std(axis=0)
    constant = std <= 1e-10 * np.maximum(np.abs(mean), 1e-30)
    scale = np.where(constant, 0.0, 1 / np.where(constant, 1, std))
    return (exact - mean) * scale, (test.astype(np.float64) - mean) * scale
