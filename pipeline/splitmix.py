"""SplitMix64 (Steele, Lea and Flood 2014): a hash of arrays of integers whose results look random."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# The generator's increment, then the two multipliers of its mixing function.
GOLDEN, _FIRST, _SECOND = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB], dtype=np.uint64)


def mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The generator's mixing function on uint64 numbers of any shape; every bit depends on every bit of the number."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * _FIRST
    numbers = (numbers ^ (numbers >> np.uint64(27))) * _SECOND
    return numbers ^ (numbers >> np.uint64(31))
