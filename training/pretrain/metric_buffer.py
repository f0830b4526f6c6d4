"""Metrics of the last few steps: buffered on the device, and fetched together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.runtime.distributed_context import DistributedContext


@dataclass(frozen=True)
class StepMetrics:
    """Metrics of one step: the `total` that is minimised, its unweighted `losses`, whether each is `active`.

    `figures` are what else the net gives for the log.
    """

    step: int
    total: float
    losses: tuple[float, ...]
    active: tuple[bool, ...]
    figures: tuple[float, ...]
    gradient_norm: float

    @property
    def finite(self) -> bool:
        """Whether the update was taken, see `Step.take`."""
        return math.isfinite(self.gradient_norm)

    def named(self, names: Sequence[str], figure_names: Sequence[str] = ()) -> dict[str, float]:
        """The metrics by their names in the log; losses that counted nothing are left out."""
        parts = zip(names, self.losses, self.active, strict=True)
        metrics = {"loss": self.total, "gradient_norm": self.gradient_norm}
        metrics |= {f"loss/{name}": loss for name, loss, counts in parts if counts}
        return metrics | dict(zip(figure_names, self.figures, strict=True))


class MetricBuffer:
    """Rows of `Step.take`, float32, oldest first: total, losses, whether active, figures if any, gradient norm."""

    def __init__(self, losses: int, context: DistributedContext) -> None:
        self._losses, self._context = losses, context
        self._rows: list[Tensor] = []

    def add(self, row: Tensor) -> None:
        """Add the row of one more step; it stays on its device."""
        self._rows.append(row)

    def fetch(self, step: int) -> list[StepMetrics]:
        """Metrics of the steps up to `step` since the last call; waits for the device and the other processes.

        Total and losses are summed over the processes, each of which has those of its part of the batch.
        """
        if not self._rows:
            return []
        rows = torch.stack(self._rows)
        self._rows = []
        rows[:, : 1 + self._losses] = self._context.summed(rows[:, : 1 + self._losses].contiguous())
        first = step - len(rows) + 1
        return [self._step_metrics(first + index, row) for index, row in enumerate(rows.tolist())]

    def _step_metrics(self, step: int, row: Sequence[float]) -> StepMetrics:
        first, second = 1 + self._losses, 1 + 2 * self._losses
        active = tuple(item > 0 for item in row[first:second])
        return StepMetrics(step, row[0], tuple(row[1:first]), active, tuple(row[second:-1]), row[-1])
