"""Scores of classes, from counts of labels by prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Scores:
    """`confusion` (classes, classes) counts labels (first axis) by prediction (second axis)."""

    confusion: NDArray[Any]

    @property
    def accuracy(self) -> float:
        """Fraction of the labelled images or pixels that are predicted correctly; NaN where there are none."""
        total = self.confusion.sum()
        return float(np.trace(self.confusion) / total) if total else float("nan")

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union per class, (classes,) float64; NaN for a class neither labelled nor predicted."""
        return _share(self._hits, self._labelled + self._predicted - self._hits)

    @property
    def mean_iou(self) -> float:
        """Mean over the classes that are labelled or predicted."""
        return _mean(self.iou)

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the classes that are labelled or predicted."""
        return _mean(_share(2 * self._hits, self._labelled + self._predicted))

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall over the classes that are labelled."""
        return _mean(_share(self._hits, self._labelled))

    def figures(self) -> dict[str, float]:
        """All of them by name."""
        return {"accuracy": self.accuracy, "balanced_accuracy": self.balanced_accuracy, "macro_f1": self.macro_f1,
                "mean_iou": self.mean_iou}  # fmt: skip

    @property
    def _hits(self) -> NDArray[np.float64]:
        return np.diagonal(self.confusion).astype(np.float64)

    @property
    def _labelled(self) -> NDArray[np.float64]:
        return np.asarray(self.confusion.sum(axis=1), dtype=np.float64)

    @property
    def _predicted(self) -> NDArray[np.float64]:
        return np.asarray(self.confusion.sum(axis=0), dtype=np.float64)


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def _mean(values: NDArray[np.float64]) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
