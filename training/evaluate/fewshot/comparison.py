"""Encoders side by side on one task: scores over labels with intervals, paired differences, and the labels needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.evaluate.fewshot.measures import OF_CLASSES, OF_NUMBERS, Measure
from training.evaluate.fewshot.needed import labels_needed
from training.evaluate.fewshot.resamples import Estimate, Resamples, interval, score
from training.evaluate.fewshot.task import Task
from training.evaluate.fewshot.trials import Trials


@dataclass(frozen=True)
class Seen:
    """Whose features: an `encoder`, and which `view` of it, such as a sensor or "fused"."""

    encoder: str
    view: str


@dataclass(frozen=True)
class Score:
    """A score at a number of labels, as a mean over `draws` with its interval; `gap` is it minus that of the first."""

    task: str
    seen: Seen
    head: str
    shots: int
    draws: int
    measure: str
    estimate: Estimate
    gap: Estimate


@dataclass(frozen=True)
class Needed:
    """The labels that give 95 % of the full-label score `full` of the first measure, with their interval.

    `bounded` where already the fewest labels that were tried give it, so that fewer may do.
    """

    task: str
    seen: Seen
    head: str
    measure: str
    full: float
    labels: Estimate
    bounded: bool


@dataclass(frozen=True)
class Comparison:
    """All scores on one task."""

    scores: tuple[Score, ...]
    needed: tuple[Needed, ...]


def compared(task: Task, trials: Mapping[Seen, Trials], resamples: int = 1000, seed: int = 0) -> Comparison:
    """Scores of all `trials`, which are of the same draws and the same test chips; differences are to the first."""
    first = next(iter(trials.values()))
    blocks = next(iter(first.sums.values())).shape[1]
    again = Resamples.of(blocks, resamples, seed)
    parts = [_Part(task, seen, item, first, again) for seen, item in trials.items()]
    return Comparison(
        tuple(item for part in parts for item in part.scores()),
        tuple(item for part in parts for item in part.needed()),
    )


def measures_of(task: Task) -> Mapping[str, Measure]:
    """The scores of a task by name; the headline is about the first."""
    return OF_CLASSES if task.classes else OF_NUMBERS


@dataclass(frozen=True)
class _Part:
    task: Task
    seen: Seen
    trials: Trials
    first: Trials
    again: Resamples

    def scores(self) -> Iterator[Score]:
        for (head, shots), sums in self.trials.sums.items():
            for name, measure in measures_of(self.task).items():
                estimate = interval(score(sums, measure), self.again.scores(sums, measure))
                gap = self._gap(head, shots, measure)
                yield Score(self.task.name, self.seen, head, shots, len(sums), name, estimate, gap)

    def _gap(self, head: str, shots: int, measure: Measure) -> Estimate:
        own, other = self.trials.sums[head, shots], self.first.sums.get((head, shots))
        if other is None:
            return Estimate(np.nan, np.nan, np.nan)
        mean = score(own, measure) - score(other, measure)
        return interval(mean, self.again.scores(own, measure) - self.again.scores(other, measure))

    def needed(self) -> Iterator[Needed]:
        name, measure = next(iter(measures_of(self.task).items()))
        shots = self.trials.shots
        for head in self.trials.heads:
            sums = [self.trials.sums[head, count] for count in shots]
            means = np.array([[score(item, measure)] for item in sums])
            labels = float(labels_needed(shots, means)[0])
            curves = np.stack([self.again.scores(item, measure) for item in sums])
            estimate = interval(labels, labels_needed(shots, curves))
            yield Needed(self.task.name, self.seen, head, name, float(means[-1, 0]), estimate, labels <= shots[0])


def curve(scores: Sequence[Score], seen: Seen, head: str, measure: str) -> list[Score]:
    """The scores of one head over the number of labels, ascending."""
    chosen = [item for item in scores if (item.seen, item.head, item.measure) == (seen, head, measure)]
    return sorted(chosen, key=lambda item: item.shots)
