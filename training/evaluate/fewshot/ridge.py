"""Ridge regression in closed form: one decomposition gives all penalties and their leave-one-out errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.evaluate.fewshot.scaled import Floats, scaled

PENALTIES = tuple(10.0**power for power in range(-2, 6))
_ZERO = 1e-10  # of the largest eigenvalue


@dataclass(frozen=True)
class Spectrum:
    """`left` (n, r) and `right` (p, r) singular vectors of centred features (n, p), and the squared singular values."""

    left: Floats
    right: Floats
    squares: Floats

    @classmethod
    def of(cls, features: Floats) -> Spectrum:
        """By the smaller of the two products; directions without any spread are left out."""
        tall = len(features) > features.shape[1]
        squares, vectors = np.linalg.eigh(features.T @ features if tall else features @ features.T)
        kept = squares > _ZERO * max(float(squares[-1]), 1e-300)
        squares, vectors = squares[kept], vectors[:, kept]
        other = (features if tall else features.T) @ vectors / np.sqrt(squares)
        return cls(other, vectors, squares) if tall else cls(vectors, other, squares)


def ridge(train_x: Floats, train_y: NDArray[Any], test_x: Floats) -> Mapping[str, NDArray[np.float64]]:
    """Predictions (tests,) of the head "ridge": the penalty has the least leave-one-out error in the draw.

    Features are in units of the draw's deviation, and the constant is not penalised: as scikit-learn's `RidgeCV`.
    """
    train, test = scaled(train_x, test_x)
    mean = train_y.mean()
    spectrum = Spectrum.of(train)
    projected = spectrum.left.T @ (train_y - mean)
    penalty = _least(spectrum, projected, train_y - mean)
    weights = projected * np.sqrt(spectrum.squares) / (spectrum.squares + penalty)
    return {"ridge": test @ (spectrum.right @ weights) + mean}


def _least(spectrum: Spectrum, projected: Floats, centred: Floats) -> float:
    """The penalty of the least mean squared leave-one-out error, the first of equal ones."""
    penalties = np.array(PENALTIES)
    shrunk = spectrum.squares[:, None] / (spectrum.squares[:, None] + penalties)
    leverage = 1 / len(centred) + spectrum.left**2 @ shrunk
    errors = centred[:, None] - spectrum.left @ (shrunk * projected[:, None])
    left_out = errors / np.maximum(1 - leverage, 1e-12)
    return float(penalties[(left_out**2).mean(axis=0).argmin()])
