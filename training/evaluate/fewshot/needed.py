"""The headline: how many labels give 95 % of the score that all labels give."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SHARE = 0.95


def labels_needed(shots: Sequence[int], scores: NDArray[np.float64], share: float = SHARE) -> NDArray[np.float64]:
    """Labels (any,) at which curves of `scores` (shots, any) first reach `share` of their last value.

    `shots` ascend, and the last is all labels. Between two of them the score is taken as linear in the logarithm of
    the number of labels. A curve that begins above has the first of `shots`, which is then an upper bound. NaN where
    the last score is not positive.

    >>> import numpy as np
    >>> labels_needed((10, 100, 1000), np.array([[0.0], [0.9], [1.0]])).round()
    array([316.])
    """
    goal = share * scores[-1]
    first = (np.nan_to_num(scores, nan=-np.inf) >= goal).argmax(axis=0)
    before, columns = np.maximum(first - 1, 0), np.arange(scores.shape[1])
    low, high = scores[before, columns], scores[first, columns]
    steps = np.where(high > low, (goal - low) / np.where(high > low, high - low, 1), 1.0)
    logs = np.log(np.asarray(shots, dtype=np.float64))
    found = np.where(first > 0, np.exp(logs[before] + steps * (logs[first] - logs[before])), shots[0])
    return np.asarray(np.where(scores[-1] > 0, found, np.nan))
