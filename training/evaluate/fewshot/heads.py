"""The models that are fitted to a draw's labels, in families that share their work."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import unknown_name
from training.evaluate.fewshot.forest import forest
from training.evaluate.fewshot.logistic import logistic
from training.evaluate.fewshot.nearest import nearest
from training.evaluate.fewshot.ridge import ridge
from training.evaluate.fewshot.task import Task

NEAREST, LINEAR, FOREST = "nearest", "linear", "forest"
FAMILIES = (NEAREST, LINEAR, FOREST)
Predictions = Mapping[str, NDArray[Any]]


def predictions(
    families: Collection[str],
    train: tuple[NDArray[np.floating], NDArray[Any]],
    test_x: NDArray[np.floating],
    task: Task,
    seed: int = 0,
) -> Predictions:
    """Predictions (tests,) by head: numbers float64, or indices of the task's classes int64.

    `train` are features (labels, width) and values (labels,). Of the `families` "nearest" has the heads "k-NN 1",
    "k-NN 3" and "k-NN 20"; "linear" has "ridge" for numbers and "logistic" for classes; "forest" has "forest".
    Everything that is tuned is tuned on `train`. Raises `Fatal` for another family.
    """
    result: dict[str, NDArray[Any]] = {}
    for family in families:
        if family not in FAMILIES:
            raise unknown_name("family of heads", family, FAMILIES)
        result |= _of_family(family, train[0].astype(np.float64), train[1], test_x.astype(np.float64), task, seed)
    return result


def _of_family(
    family: str, train_x: NDArray[np.float64], train_y: NDArray[Any], test_x: NDArray[np.float64], task: Task, seed: int
) -> Predictions:
    if family == NEAREST:
        return nearest(train_x, train_y, test_x, task)
    if family == FOREST:
        return forest(train_x, train_y, test_x, task, seed)
    return logistic(train_x, train_y, test_x, seed) if task.classes else ridge(train_x, train_y, test_x)


def linear_head(task: Task) -> str:
    """The head of the family "linear" for a task."""
    return "logistic" if task.classes else "ridge"
