"""All draws of all numbers of labels for the features of one encoder: what its predictions were worth."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from training.evaluate.fewshot.draws import Draw
from training.evaluate.fewshot.heads import predictions
from training.evaluate.fewshot.places import Places
from training.evaluate.fewshot.sums import Sums, sums_of_classes, sums_of_numbers
from training.evaluate.fewshot.task import Task


@dataclass(frozen=True)
class Trials:
    """Sums (draws, blocks, any) by (head, number of labels); see `sums`."""

    sums: Mapping[tuple[str, int], Sums]

    @property
    def heads(self) -> tuple[str, ...]:
        """The models, in their order."""
        return tuple(dict.fromkeys(head for head, _ in self.sums))

    @property
    def shots(self) -> tuple[int, ...]:
        """Numbers of labels, ascending; the last is all of them."""
        return tuple(sorted({shots for _, shots in self.sums}))


def _nothing() -> None:
    return None


def trials_of(
    task: Task,
    features: NDArray[np.floating],
    places: Places,
    draws: Sequence[Draw],
    families: Collection[str],
    seed: int = 0,
    advance: Callable[[], None] = _nothing,
) -> Trials:
    """Fit each draw, and predict the test chips. `features` (rows, width) are finite in all rows that are used.

    `places` are those where the task has labels. `advance` is called after each draw.
    """
    sums: dict[tuple[str, int], list[Sums]] = {}
    for draw in draws:
        train = (features[draw.rows], task.values[draw.rows])
        with threadpool_limits(1):  # Products this small take less time than their threads need to meet.
            answer = predictions(families, train, features[places.test], task, seed)
        for head, one in answer.items():
            sums.setdefault((head, draw.shots), []).append(sums_of(task, one, places))
        advance()
    return Trials({key: np.stack(parts) for key, parts in sums.items()})


def sums_of(task: Task, predicted: NDArray[Any], places: Places) -> Sums:
    """Sums (blocks, any) of predictions (tests,) of the test chips."""
    truth = task.values[places.test]
    if task.classes:
        return sums_of_classes(truth, predicted, places.blocks, len(task.classes))
    return sums_of_numbers(truth, predicted, places.blocks)
