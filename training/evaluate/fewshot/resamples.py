"""The two-level bootstrap: draws of labels and geographic blocks of test chips, both drawn again with replacement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.evaluate.fewshot.measures import Measure
from training.evaluate.fewshot.sums import Sums

_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class Estimate:
    """A mean over draws, and its 95 % interval over resamples; NaN where there is no score."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Resamples:
    """How often each resample has each block, `weights` (resamples, blocks), and `seed` for which draws it has.

    The same for everything that is compared, so that differences are paired.
    """

    weights: NDArray[np.float64]
    seed: int

    @classmethod
    def of(cls, blocks: int, resamples: int = 1000, seed: int = 0) -> Resamples:
        """As many blocks in each resample as there are, drawn by `seed`."""
        random = np.random.default_rng([seed, blocks])
        weights = random.multinomial(blocks, np.full(blocks, 1 / blocks), size=resamples)
        return cls(weights.astype(np.float64), seed)

    def scores(self, sums: Sums, measure: Measure) -> NDArray[np.float64]:
        """The mean score over resampled draws on resampled blocks, (resamples,), of `sums` (draws, blocks, any)."""
        draws, blocks, size = sums.shape
        weighted = self.weights @ sums.transpose(1, 0, 2).reshape(blocks, draws * size)
        by_draw = measure(weighted.reshape(-1, draws, size))
        return np.take_along_axis(by_draw, self._picks(draws), axis=1).mean(axis=1)

    def _picks(self, draws: int) -> NDArray[np.int64]:
        return np.random.default_rng([self.seed, draws, 1]).integers(0, draws, (len(self.weights), draws))


def score(sums: Sums, measure: Measure) -> float:
    """The mean score over the draws of `sums` (draws, blocks, any), on all test chips."""
    return float(measure(sums.sum(axis=1)).mean())


def interval(mean: float, resampled: NDArray[np.float64]) -> Estimate:
    """A mean with the 95 % interval of `resampled` (resamples,), those without a score left out."""
    there = resampled[np.isfinite(resampled)]
    low, high = np.percentile(there, _PERCENTILES) if len(there) else (np.nan, np.nan)
    return Estimate(mean, float(low), float(high))
