"""From region to region: labels of one, predictions in another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from training.evaluate.fewshot.comparison import measures_of
from training.evaluate.fewshot.draws import draws_of
from training.evaluate.fewshot.heads import LINEAR
from training.evaluate.fewshot.places import Places
from training.evaluate.fewshot.resamples import Estimate, Resamples, interval, score
from training.evaluate.fewshot.task import Task
from training.evaluate.fewshot.trials import trials_of

FEWEST_LABELS = 20
FEWEST_TESTS = 10


@dataclass(frozen=True)
class Regions:
    """The region of each row, `index` (rows,) int64 into `names`, -1 for none."""

    names: tuple[str, ...]
    index: NDArray[np.int64]

    def rows(self, number: int) -> NDArray[np.bool_]:
        """Which rows are in a region."""
        return np.asarray(self.index == number)


@dataclass(frozen=True)
class Transfer:
    """The score of a model with `labels` labels of the region `trained`, on the `tests` test chips of `tested`.

    A mean over draws, with its interval over draws and blocks.
    """

    task: str
    trained: str
    tested: str
    labels: int
    tests: int
    measure: str
    estimate: Estimate


@dataclass(frozen=True)
class Drawn:
    """At most `shots` labels of a region: `draws` draws of them where it has more, else all of them, once.

    Of the `family` of models the last head predicts.
    """

    shots: int
    draws: int
    seed: int = 0
    family: str = LINEAR


def transfers(
    task: Task, features: NDArray[np.floating], places: Places, regions: Regions, how: Drawn
) -> list[Transfer]:
    """Every region with at least 20 labels to each with at least 10 test chips.

    A region whose labels are all of one class gives no models.
    """
    known = task.known
    tested = _by_region(places.among(known, known & (regions.index >= 0)), regions)
    return [
        item
        for number in range(len(regions.names))
        if _can_teach(task, train := tested.train[regions.rows(number)[tested.train]])
        for item in _from(task, features, replace(tested, train=train), regions, number, how)
    ]


def _by_region(places: Places, regions: Regions) -> Places:
    """The same, with blocks cut along the regions."""
    pairs = np.column_stack([regions.index[places.test], places.blocks])
    blocks = np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1)
    return replace(places, blocks=blocks.astype(np.int64))


def _can_teach(task: Task, train: NDArray[np.int64]) -> bool:
    return len(train) >= FEWEST_LABELS and (not task.classes or len(np.unique(task.values[train])) > 1)


def _from(
    task: Task, features: NDArray[np.floating], places: Places, regions: Regions, number: int, how: Drawn
) -> Iterator[Transfer]:
    named = replace(task, name=f"{task.name}|{regions.names[number]}")
    found = draws_of(named, places.train, (max(how.shots, FEWEST_LABELS, len(task.classes)),), how.draws, how.seed)
    labels = found[0].shots
    chosen = [item for item in found if item.shots == labels]
    sums = list(trials_of(task, features, places, chosen, (how.family,), how.seed).sums.values())[-1]
    name, measure = next(iter(measures_of(task).items()))
    for other, region in enumerate(regions.names):
        there = regions.index[places.test] == other
        if there.sum() >= FEWEST_TESTS:
            part = sums[:, np.unique(places.blocks[there])]
            again = Resamples.of(part.shape[1], seed=how.seed).scores(part, measure)
            estimate = interval(score(part, measure), again)
            yield Transfer(task.name, regions.names[number], region, labels, int(there.sum()), name, estimate)
