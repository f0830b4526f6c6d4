"""k nearest neighbours for k of 1, 3 and 20, from one table of distances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.evaluate.fewshot.scaled import Floats, scaled
from training.evaluate.fewshot.task import Task

NEIGHBOURS = (1, 3, 20)
_TESTS_AT_ONCE = 2048


def nearest(train_x: Floats, train_y: NDArray[Any], test_x: Floats, task: Task) -> Mapping[str, NDArray[Any]]:
    """Predictions (tests,) by head: the mean, or the commonest class (the first in a tie), of the nearest labels.

    Distances are Euclidean between features in units of the draw's deviation. Where there are fewer labels than
    neighbours all of them are taken.
    """
    train, test = scaled(train_x, test_x)
    parts = np.split(test, range(_TESTS_AT_ONCE, len(test), _TESTS_AT_ONCE))
    order = np.concatenate([_nearest(train, part) for part in parts])
    return {f"k-NN {count}": _answer(train_y[order[:, :count]], len(task.classes)) for count in NEIGHBOURS}


def _nearest(train: Floats, test: Floats) -> NDArray[np.int64]:
    """Indices of the nearest, (tests, at most 20), the nearest first."""
    distances = (train**2).sum(axis=1) - 2 * test @ train.T
    count = min(NEIGHBOURS[-1], len(train))
    found = np.argpartition(distances, count - 1, axis=1)[:, :count]
    return np.take_along_axis(found, np.take_along_axis(distances, found, axis=1).argsort(axis=1), axis=1)


def _answer(labels: NDArray[Any], classes: int) -> NDArray[Any]:
    if not classes:
        return np.asarray(labels.mean(axis=1))
    votes = (labels[:, :, None] == np.arange(classes)).sum(axis=1)
    return np.asarray(votes.argmax(axis=1))
