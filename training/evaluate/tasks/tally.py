"""Predictions counted so that any resample of the test samples can be scored: figures and their intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_RESAMPLES = 1000
_PERCENTILES = (2.5, 97.5)


class Tally(Protocol):
    """Counts per test sample. `headline` is the figure by which the field compares."""

    @property
    def headline(self) -> str:
        """The name of one of the figures."""

    @property
    def samples(self) -> int:
        """Number of test samples, images also where labels are of pixels."""

    def figures(self, times: NDArray[np.int64] | None = None) -> dict[str, float]:
        """Scores by name; `times` (samples,) says how often each sample counts, once without it."""


@dataclass(frozen=True)
class Figure:
    """A score, and the 95 % interval of it over bootstrap resamples of the test samples."""

    value: float
    interval: tuple[float, float]


def figures_of(tally: Tally, seed: int = 0) -> dict[str, Figure]:
    """All scores of a tally with their intervals.

    >>> import numpy as np
    >>> from training.evaluate.tasks.single_label import ClassTally
    >>> right = ClassTally.of_images(np.array([0, 1, 1]), np.array([0, 1, 1]), 2)
    >>> figures_of(right)["accuracy"]
    Figure(value=1.0, interval=(1.0, 1.0))
    """
    drawn = resampled(tally, seed)
    return {name: Figure(value, _interval(drawn[name])) for name, value in tally.figures().items()}


def gap(first: Tally, second: Tally, seed: int = 0) -> Figure:
    """The headline of `first` minus that of `second`, of the same test samples, which a resample draws for both."""
    name = first.headline
    value = first.figures()[name] - second.figures()[name]
    return Figure(value, _interval(resampled(first, seed)[name] - resampled(second, seed)[name]))


def resampled(tally: Tally, seed: int) -> Mapping[str, NDArray[np.float64]]:
    """Scores of resamples, (resamples,) by name; the same draws for tallies of equally many samples."""
    count = tally.samples
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), _RESAMPLES)
    rows = [tally.figures(times) for times in draws]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    if np.isnan(values).all():
        return float("nan"), float("nan")
    low, high = np.nanpercentile(values, _PERCENTILES)
    return float(low), float(high)
