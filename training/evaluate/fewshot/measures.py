"""Scores from sums over test chips: R2 and RMSE of numbers, balanced accuracy and macro-F1 of classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from training.evaluate.fewshot.sums import Sums

Measure = Callable[[Sums], NDArray[np.float64]]


def r2(sums: Sums) -> NDArray[np.float64]:
    """1 - squared errors / squared distances from the mean, of sums (..., 4); NaN where all truths are the same."""
    count, total, squares, errors = np.moveaxis(sums, -1, 0)
    spread = squares - total**2 / np.maximum(count, 1)
    flat = spread <= 1e-12 * np.maximum(squares, 1e-300)
    return np.where(flat, np.nan, 1 - errors / np.where(flat, 1, spread))


def rmse(sums: Sums) -> NDArray[np.float64]:
    """The root of the mean squared error, in the units of the target, of sums (..., 4)."""
    return np.asarray(np.sqrt(sums[..., 3] / np.maximum(sums[..., 0], 1)))


def balanced_accuracy(sums: Sums) -> NDArray[np.float64]:
    """The mean recall of the classes that occur among the truths, of sums (..., classes * classes)."""
    matrix = _matrix(sums)
    truths = matrix.sum(axis=-1)
    return _mean_where(np.diagonal(matrix, axis1=-2, axis2=-1) / np.maximum(truths, 1), truths > 0)


def macro_f1(sums: Sums) -> NDArray[np.float64]:
    """The mean F1 of the classes that occur among truths or predictions, of sums (..., classes * classes)."""
    matrix = _matrix(sums)
    both = matrix.sum(axis=-1) + matrix.sum(axis=-2)
    return _mean_where(2 * np.diagonal(matrix, axis1=-2, axis2=-1) / np.maximum(both, 1), both > 0)


def _matrix(sums: Sums) -> NDArray[np.float64]:
    classes = round(sums.shape[-1] ** 0.5)
    return sums.reshape(*sums.shape[:-1], classes, classes)


def _mean_where(values: NDArray[np.float64], there: NDArray[np.bool_]) -> NDArray[np.float64]:
    count = there.sum(axis=-1)
    return np.where(count > 0, np.where(there, values, 0).sum(axis=-1) / np.maximum(count, 1), np.nan)


# The first of each is the score that the headline is about.
OF_NUMBERS: Mapping[str, Measure] = {"R2": r2, "RMSE": rmse}
OF_CLASSES: Mapping[str, Measure] = {"balanced accuracy": balanced_accuracy, "macro-F1": macro_f1}
