"""Labelled images by index: what fine-tuning and scoring read, from memory or from files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from training.evaluate.legend import Legend
from training.evaluate.tasks.label_task import LabelTask

if TYPE_CHECKING:
    from training.evaluate.samples import Samples


class SampleSource(Protocol):
    """Images of one size, with labels of one kind."""

    def __len__(self) -> int:
        """Number of samples."""

    def of(self, rows: NDArray[np.int64]) -> Samples:
        """The samples at the indices `rows`, in memory."""

    @property
    def task(self) -> LabelTask:
        """What the labels are."""

    @property
    def legend(self) -> Legend | None:
        """What the labels are called and how maps show them."""


def batches_of(source: SampleSource, size: int) -> list[NDArray[np.int64]]:
    """Indices of all samples in order, in parts of `size`."""
    return np.split(np.arange(len(source)), range(size, len(source), size))
