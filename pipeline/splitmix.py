"""SplitMix64 (Steele, Lea and Flood 2014): numbers that are hashed into numbers that look random, many at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# The generator's increment, then the two multipliers of its mixing function.
GOLDEN, _FIRST, _SECOND = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB], dtype=np.uint64)


def mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The generator's mixing function of uint64 numbers of any shape; every bit of a number moves every bit of it."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * _FIRST
    numbers = (numbers ^ (numbers >> np.uint64(27))) * _SECOND
    return numbers ^ (numbers >> np.uint64(31))
