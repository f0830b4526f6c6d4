"""Any number of labels per image: binary cross-entropy; F1 over all and per label, and mean average precision."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.errors import Fatal
from training.evaluate.tasks.label_task import Kind, Shown


@dataclass(frozen=True)
class MultiLabelTally:
    """`outputs` (samples, labels) float32, predicted where above 0, and `labels` (samples, labels) bool."""

    outputs: NDArray[np.float32]
    labels: NDArray[np.bool_]
    headline: ClassVar[str] = "micro_f1"

    @property
    def samples(self) -> int:
        """Number of images."""
        return len(self.labels)

    def figures(self, times: NDArray[np.int64] | None = None) -> dict[str, float]:
        """F1 over all decisions, its mean over labels that occur or are predicted, and mean average precision."""
        weights = np.ones(self.samples) if times is None else times.astype(np.float64)
        hits, wanted, given = (weights @ part for part in self._decisions)
        per_label = _ratio(2 * hits, wanted + given)
        total = wanted.sum() + given.sum()
        return {
            "micro_f1": float(2 * hits.sum() / total) if total else float("nan"),
            "macro_f1": _mean(per_label),
            "mean_average_precision": _mean(self._precisions(weights)),
        }

    @cached_property
    def _decisions(self) -> tuple[NDArray[np.float64], ...]:
        chosen = self.outputs > 0
        return tuple(part.astype(np.float64) for part in (chosen & self.labels, self.labels, chosen))

    @cached_property
    def _ranked(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Samples by falling output, (samples, labels), and whether each is the last of those with its output."""
        order = np.argsort(-self.outputs, axis=0, kind="stable")
        ranked = np.take_along_axis(self.outputs, order, axis=0)
        return order, np.concatenate([ranked[1:] != ranked[:-1], np.ones_like(ranked[:1], dtype=bool)])

    def _precisions(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Average precision per label, (labels,); NaN for one without any positive sample."""
        order, last = self._ranked
        found = np.cumsum(weights[order] * np.take_along_axis(self.labels, order, axis=0), axis=0)
        precision = _ratio(found, np.cumsum(weights[order], axis=0))
        total = found[-1]
        result = np.full(len(total), np.nan)
        for label in np.flatnonzero(total):
            ends = last[:, label]
            gained = np.diff(found[ends, label], prepend=0.0) / total[label]
            result[label] = float((gained * np.nan_to_num(precision[ends, label])).sum())
        return result


@dataclass(frozen=True)
class MultiLabel:
    """Labels are 0 or 1, (samples, labels): which of the labels an image has, several or none."""

    names: tuple[str, ...]
    kind: ClassVar[Kind] = "multi-label"
    shows: ClassVar[tuple[Shown, ...]] = ("probability",)

    def check(self, labels: NDArray[Any]) -> None:
        """Raise `Fatal` for labels that are not 0 or 1 for each name."""
        if labels.ndim != 2 or labels.shape[1] != len(self.names):
            raise Fatal(f"labels have shape {labels.shape}; give (samples, {len(self.names)}) of 0 and 1.")
        if labels.dtype.kind not in "biu" or not np.isin(labels, (0, 1)).all():
            raise Fatal("several labels of an image must be 0 or 1 each; give kind 'regression' for numbers.")

    def known(self, labels: NDArray[Any]) -> bool:
        """Whether there are any: also an image with none of the labels says something."""
        return labels.size > 0

    def fitted(self, labels: Iterable[NDArray[Any]]) -> Self:
        """The same."""
        return self

    def loss(self, outputs: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """Mean binary cross-entropy of `outputs` (batch, labels) float32; smoothing moves labels towards a half."""
        wanted = labels.float() * (1 - smoothing) + smoothing / 2
        return functional.binary_cross_entropy_with_logits(outputs, wanted)

    def answers(self, outputs: Tensor) -> NDArray[Any]:
        """0 or 1 for each label, int64: 1 where it is more likely than not."""
        return np.asarray((outputs > 0).long().cpu().numpy())

    def estimates(self, outputs: Tensor) -> NDArray[np.float32]:
        """Probabilities, of each label by itself."""
        return np.asarray(outputs.sigmoid().cpu().numpy(), dtype=np.float32)

    def tally(self, parts: Iterable[tuple[Tensor, NDArray[Any]]]) -> MultiLabelTally:
        """Outputs beside labels."""
        said, labels = zip(*parts, strict=True)
        outputs = torch.cat([part.float().cpu() for part in said]).numpy()
        return MultiLabelTally(outputs, np.concatenate(labels).astype(bool))

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {"kind": self.kind}


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _mean(values: NDArray[np.float64]) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
