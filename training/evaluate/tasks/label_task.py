"""What the labels of samples are: it decides the loss, the width of the head, and the figures of a score."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from training.evaluate.tasks.tally import Tally

Kind = Literal["single-label", "multi-label", "regression"]
Shown = Literal["class", "probability", "number"]  # what a map can show


class LabelTask(Protocol):
    """One kind of labels, of images or of their pixels. `names` are classes, labels, or columns of numbers.

    `shows` is what maps can show of it, the usual one first.
    """

    kind: ClassVar[Kind]
    shows: ClassVar[tuple[Shown, ...]]

    @property
    def names(self) -> tuple[str, ...]:
        """One name for each output of the head."""

    def check(self, labels: NDArray[Any]) -> None:
        """Raise `Fatal` for labels that are not of this kind."""

    def known(self, labels: NDArray[Any]) -> bool:
        """Whether any of the labels says something."""

    def fitted(self, labels: Iterable[NDArray[Any]]) -> Self:
        """The task with what it has to know of the training labels, given in parts."""

    def loss(self, outputs: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """Mean loss over what has a label, 0 where nothing has: `outputs` (batch, names[, y, x]) float32."""

    def answers(self, outputs: Tensor) -> NDArray[Any]:
        """Predictions in the kind and shape of the labels."""

    def estimates(self, outputs: Tensor) -> NDArray[np.float32]:
        """What may be averaged, in the shape of `outputs`: probabilities from 0 to 1, or numbers in their units."""

    def tally(self, parts: Iterable[tuple[Tensor, NDArray[Any]]]) -> Tally:
        """What scores are made of, from outputs and labels batch by batch."""

    def to_dict(self) -> dict[str, Any]:
        """JSON values; `tasks.kinds.task_from` gives the same task back."""


def is_dense(labels: NDArray[Any]) -> bool:
    """Whether labels are of pixels: (samples, y, x) or (samples, columns, y, x)."""
    return labels.ndim > 2
