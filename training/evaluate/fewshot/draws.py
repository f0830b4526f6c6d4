"""Which chips get a label: draws that follow from the seed, the target, the number of labels and the draw's number."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Fatal
from training.evaluate.fewshot.task import Task

SHOTS = (10, 20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True)
class Draw:
    """The labelled `rows` (shots,) int64, ascending: indices into the rows of a task; `shots` of them are labelled."""

    shots: int
    number: int
    rows: NDArray[np.int64]


def draws_of(
    task: Task, train: NDArray[np.int64], shots: Sequence[int] | None = None, draws: int = 20, seed: int = 0
) -> list[Draw]:
    """`draws` draws for each of the `shots` that the labelled rows among `train` suffice for, then one of them all.

    Without `shots` they are `SHOTS`, without those that are fewer than the classes. A draw follows from (seed, name of
    the task, shots, number), so every encoder gets the same. Of classes a draw has one row each, and others by chance.
    Raises `Fatal` for no labels, labels of one class, and shots that are fewer than the classes.
    """
    labelled = train[task.known[train]]
    classes = _classes(task, labelled)
    wanted = sorted({int(count) for count in (shots or SHOTS)})
    if shots and wanted[0] < max(1, classes):
        raise Fatal(f"{wanted[0]} labels are fewer than the {classes} classes of {task.name}; draw more of them.")
    fit = [count for count in wanted if max(2, classes) <= count < len(labelled)]
    some = [
        Draw(count, number, _drawn(task, labelled, count, _random(seed, task.name, count, number)))
        for count in fit
        for number in range(draws)
    ]
    return [*some, Draw(len(labelled), 0, labelled)]


def _classes(task: Task, labelled: NDArray[np.int64]) -> int:
    if not len(labelled):
        raise Fatal(f"no train chip has a label of {task.name}; choose another target.")
    if not task.classes:
        return 0
    count = len(np.unique(task.values[labelled]))
    if count < 2:
        raise Fatal(f"all train labels of {task.name} are of one class, so there is nothing to tell; choose another.")
    return count


def _random(seed: int, name: str, shots: int, number: int) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}|{name}|{shots}|{number}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def _drawn(task: Task, labelled: NDArray[np.int64], count: int, random: np.random.Generator) -> NDArray[np.int64]:
    shuffled = random.permutation(labelled)
    if task.classes:
        firsts = np.unique(task.values[shuffled], return_index=True)[1]
        shuffled = np.concatenate([shuffled[firsts], np.delete(shuffled, firsts)])
    return np.sort(shuffled[:count])
