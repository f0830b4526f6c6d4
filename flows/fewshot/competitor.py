"""Features that are compared, whatever they were made by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Competitor:
    """Features (rows, width) float32 of a `view` of an `encoder`, NaN in rows that it has none of.

    `whole` is the view of all that the encoder looks at, which is compared in full.
    """

    encoder: str
    view: str
    features: NDArray[np.float32]
    whole: bool

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which rows have features."""
        return np.asarray(np.isfinite(self.features).all(axis=1))
