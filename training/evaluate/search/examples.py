"""A few vectors that are wanted and a few that are not, as one direction: along it, a search ranks all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Inverse strength of the ridge, for vectors whose spread is 1: a few examples are separated, and not with certainty.
_RIDGE = 10.0


@dataclass(frozen=True)
class Direction:
    """A linear classifier of unit vectors: `weights` (width,) and `bias`, of the logit that a vector is wanted."""

    weights: NDArray[np.float64]
    bias: float

    @classmethod
    def of(cls, wanted: NDArray[Any], unwanted: NDArray[Any]) -> Direction:
        """Logistic regression with a ridge, both sides weighing the same, of rows (n, width) and (m, width).

        With one of each this is the direction from the one to the other. Raises `ValueError` when a side is empty or
        both are the same.

        >>> import numpy as np
        >>> found = Direction.of(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]))
        >>> bool(found.probabilities(np.array([1.0]))[0] > 0.5)
        True
        """
        rows = np.concatenate([_unit(wanted), _unit(unwanted)])
        if not len(wanted) or not len(unwanted) or not np.ptp(rows, axis=0).any():
            raise ValueError("a classifier needs wanted and unwanted examples that differ")
        middle = rows.mean(axis=0)
        spread = float(np.sqrt(((rows - middle) ** 2).sum(axis=1).mean()))
        weights, bias = _fitted((rows - middle) / spread, np.repeat([1, 0], [len(wanted), len(unwanted)]))
        return cls(weights / spread, bias - float(weights @ middle) / spread)

    def probabilities(self, cosines: NDArray[Any]) -> NDArray[np.float64]:
        """Probabilities (n,) that vectors are wanted whose cosines (n,) with `weights` are known.

        They rank; as chances they hold only where wanted and unwanted are as frequent as each other.
        """
        logits = np.linalg.norm(self.weights) * np.asarray(cosines, np.float64) + self.bias
        return np.asarray((1 + np.tanh(logits / 2)) / 2)


def _unit(rows: NDArray[Any]) -> NDArray[np.float64]:
    rows = np.asarray(rows, np.float64)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def _fitted(rows: NDArray[np.float64], wanted: NDArray[Any]) -> tuple[NDArray[np.float64], float]:
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=_RIDGE, class_weight="balanced", max_iter=1000).fit(rows, wanted)
    return np.asarray(fitted.coef_[0]), float(fitted.intercept_[0])
