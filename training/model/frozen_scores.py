"""What frozen features tell of a label, in a moment: by nearest neighbours, and by a linear model in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

_NEIGHBOURS = 20  # and their weights, as usual since Wu et al. 2018
_TEMPERATURE = 0.07
_PENALTIES = tuple(10.0**power for power in range(-2, 6))  # features have a standard deviation of 1


def frozen_scores(
    train_x: NDArray[Any], train_y: NDArray[Any], test_x: NDArray[Any], test_y: NDArray[Any]
) -> dict[str, float]:
    """Scores "knn" and "linear" on test samples of what was fitted to train samples.

    `train_x` and `test_x` are (samples, features), standardised here by the train part. Integer labels (samples,) are
    classes, scored by accuracy; others (samples, columns) are numbers, scored by R2, the mean over columns. NaN where
    there are fewer than two samples in a part.
    """
    if len(train_x) < 2 or len(test_x) < 2:
        return {"knn": np.nan, "linear": np.nan}
    mean, std = train_x.mean(axis=0, dtype=np.float64), train_x.std(axis=0, dtype=np.float64)
    train, test = ((part - mean) / np.where(std > 0, std, 1) for part in (train_x, test_x))
    targets = _targets(train_y)
    predictions = {"knn": by_neighbours(train, targets, test), "linear": by_ridge(train, targets, test)}
    return {name: _score(predicted, train_y, test_y) for name, predicted in predictions.items()}


def by_neighbours(train: Numbers, targets: Numbers, test: Numbers, neighbours: int = _NEIGHBOURS) -> Numbers:
    """The mean target (test samples, columns) of the nearest train samples by cosine, weights exp(cosine / 0.07)."""
    cosines = _unit(test) @ _unit(train).T
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :neighbours]
    weights = np.exp((np.take_along_axis(cosines, nearest, axis=1) - 1) / _TEMPERATURE)
    votes: Numbers = (weights[..., None] * targets[nearest]).sum(axis=1) / weights.sum(axis=1)[:, None]
    return votes


def by_ridge(train: Numbers, targets: Numbers, test: Numbers) -> Numbers:
    """Ridge regression (test samples, columns); its penalty is the best by leaving out one train sample at a time."""
    mean = targets.mean(axis=0)
    left, sizes, right = np.linalg.svd(train, full_matrices=False)
    shares = [sizes**2 / (sizes**2 + penalty) for penalty in _PENALTIES]
    errors = [_left_out_error(left, share, targets - mean) for share in shares]
    share = shares[int(np.argmin(errors))]
    slopes = right.T @ ((share / np.where(sizes > 0, sizes, 1))[:, None] * (left.T @ (targets - mean)))
    predicted: Numbers = test @ slopes + mean
    return predicted


def _left_out_error(left: Numbers, share: Numbers, targets: Numbers) -> float:
    """The squared error of train samples by a model without them, in closed form."""
    fitted = left @ (share[:, None] * (left.T @ targets))
    leverage = (left**2 * share).sum(axis=1) + 1 / len(left)
    return float((((targets - fitted) / np.maximum(1 - leverage, 1e-6)[:, None]) ** 2).sum())


def _targets(labels: NDArray[Any]) -> Numbers:
    """Classes one-hot, numbers as columns: (samples, columns) float64."""
    if np.issubdtype(labels.dtype, np.integer):
        return (labels[:, None] == np.unique(labels)).astype(np.float64)
    return labels.astype(np.float64).reshape(len(labels), -1)


def _score(predicted: Numbers, train_y: NDArray[Any], test_y: NDArray[Any]) -> float:
    if np.issubdtype(train_y.dtype, np.integer):
        return float((np.unique(train_y)[predicted.argmax(axis=1)] == test_y).mean())
    expected = _targets(test_y)
    variance = expected.var(axis=0)
    errors = ((predicted - expected) ** 2).mean(axis=0)
    return float((1 - errors / variance)[variance > 0].mean()) if (variance > 0).any() else np.nan


def _unit(vectors: Numbers) -> Numbers:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)
