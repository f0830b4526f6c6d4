"""Vectors of length 1 in half precision: what a search reads, half the bytes of float32."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# The relative rounding of one float16, which no component and no length exceeds.
HALF = 2.0**-11


def unit_rows(values: NDArray[Any]) -> NDArray[np.float16]:
    """Rows (n, width) of length 1 float16; NaN for a row that has a NaN or no length, which no search finds.

    A component is off by at most 1 part in 2,048, so a cosine by at most 0.0005, and by some 0.00001 as a rule.

    >>> import numpy as np
    >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [nan, nan]], dtype=float16)
    """
    values = np.asarray(values, dtype=np.float32)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    known = np.isfinite(lengths) & (lengths > 0)
    return np.asarray(np.where(known, values / np.where(known, lengths, 1), np.nan), dtype=np.float16)
