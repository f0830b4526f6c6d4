"""One class per image or per pixel: cross-entropy; accuracy, F1 and intersection over union."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.errors import Fatal
from training.evaluate.tasks.label_task import Kind, Shown, is_dense
from training.evaluate.tasks.scores import Scores
from training.layer import IGNORED


@dataclass(frozen=True)
class ClassTally:
    """How often which class was predicted for which: sample `rows`, `pairs` (label * classes + prediction), `counts`.

    All three are int64 of one length. `dense` says that labels are of pixels.
    """

    rows: NDArray[np.int64]
    pairs: NDArray[np.int64]
    counts: NDArray[np.int64]
    samples: int
    classes: int
    dense: bool

    @classmethod
    def of_images(cls, labels: NDArray[np.int64], answers: NDArray[np.int64], classes: int) -> ClassTally:
        """For one class per image, (samples,) both; samples without a label do not count."""
        labels, answers = labels[labels != IGNORED], answers[labels != IGNORED]
        rows = np.arange(len(labels))
        return cls(rows, labels * classes + answers, np.ones_like(rows), len(labels), classes, False)

    @classmethod
    def of_pixels(cls, parts: Iterable[tuple[NDArray[np.int64], NDArray[np.int64]]], classes: int) -> ClassTally:
        """For a class per pixel: labels and answers (samples, y, x) batch by batch; unlabelled images do not count."""
        found = [
            np.unique(label[label != IGNORED] * classes + answer[label != IGNORED], return_counts=True)
            for labels, answers in parts
            for label, answer in zip(labels, answers, strict=True)
            if (label != IGNORED).any()
        ]
        rows = np.repeat(np.arange(len(found)), [len(pairs) for pairs, _ in found])
        pairs, counts = (np.concatenate([np.zeros(0, np.int64), *[item[i] for item in found]]) for i in (0, 1))
        return cls(rows, pairs, counts, len(found), classes, True)

    @property
    def headline(self) -> str:
        """Accuracy of images, mean IoU of pixels."""
        return "mean_iou" if self.dense else "accuracy"

    def figures(self, times: NDArray[np.int64] | None = None) -> dict[str, float]:
        """As for `Tally`."""
        return self._scores(times).figures()

    def _scores(self, times: NDArray[np.int64] | None) -> Scores:
        counts = self.counts if times is None else self.counts * times[self.rows]
        flat = np.bincount(self.pairs, counts, minlength=self.classes**2)
        return Scores(flat.astype(np.int64).reshape(self.classes, self.classes))

    @cached_property
    def _all(self) -> Scores:
        return self._scores(None)

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Counts (classes, classes) of labels (first axis) by prediction."""
        return self._all.confusion

    @property
    def accuracy(self) -> float:
        """As of `Scores`."""
        return self._all.accuracy

    @property
    def iou(self) -> NDArray[np.float64]:
        """As of `Scores`."""
        return self._all.iou

    @property
    def mean_iou(self) -> float:
        """As of `Scores`."""
        return self._all.mean_iou


@dataclass(frozen=True)
class SingleLabel:
    """Labels are class indices, (samples,) or (samples, y, x), `IGNORED` (-1) for none."""

    names: tuple[str, ...]
    kind: ClassVar[Kind] = "single-label"
    shows: ClassVar[tuple[Shown, ...]] = ("class", "probability")

    def check(self, labels: NDArray[Any]) -> None:
        """Raise `Fatal` for labels that are no class indices, such as fractions."""
        if labels.dtype.kind not in "iu":
            raise Fatal(
                f"labels are {labels.dtype} numbers, and classes are whole ones; number the classes, or give kind "
                "'regression' for numbers to predict."
            )
        if labels.ndim not in (1, 3):
            raise Fatal(
                f"labels have shape {labels.shape}, and classes (samples,) or (samples, y, x); several labels of an "
                "image are of kind 'multi-label'."
            )
        if labels.size and (labels.min() < IGNORED or labels.max() >= len(self.names)):
            raise Fatal(f"labels must lie between 0 and {len(self.names) - 1}, or be {IGNORED} for none.")

    def known(self, labels: NDArray[Any]) -> bool:
        """Whether any sample or pixel has a class."""
        return bool((labels != IGNORED).any())

    def fitted(self, labels: Iterable[NDArray[Any]]) -> Self:
        """The same."""
        return self

    def loss(self, outputs: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """Mean cross-entropy over labelled images or pixels; 0 where there is no label.

        `outputs` (batch, classes[, y, x]) float32, `labels` (batch[, y, x]), `IGNORED` for none.
        """
        total = functional.cross_entropy(
            outputs, labels.long(), ignore_index=IGNORED, label_smoothing=smoothing, reduction="sum"
        )
        return total / (labels != IGNORED).sum().clamp(min=1)

    def answers(self, outputs: Tensor) -> NDArray[Any]:
        """Class indices int64."""
        return np.asarray(outputs.argmax(1).cpu().numpy())

    def estimates(self, outputs: Tensor) -> NDArray[np.float32]:
        """Probabilities, which add up to 1 over the classes."""
        return np.asarray(outputs.softmax(dim=1).cpu().numpy(), dtype=np.float32)

    def tally(self, parts: Iterable[tuple[Tensor, NDArray[Any]]]) -> ClassTally:
        """Counts of labels by prediction."""
        pairs = ((labels.astype(np.int64), self.answers(outputs)) for outputs, labels in parts)
        first = next(pairs)
        if is_dense(first[0]):
            return ClassTally.of_pixels(chain([first], pairs), len(self.names))
        labels, answers = (np.concatenate(part) for part in zip(first, *pairs, strict=True))
        return ClassTally.of_images(labels, answers, len(self.names))

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {"kind": self.kind}
