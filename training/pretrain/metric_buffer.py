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
    """Metrics of one step: per target, the unweighted `losses`, whether `active`, and the log variances if any."""

    step: int
    losses: tuple[float, ...]
    active: tuple[bool, ...]
    log_variances: tuple[float, ...]
    gradient_norm: float

    @property
    def total(self) -> float:
        """The weighted sum over the active targets, as in `losses.weigh`; this is minimised."""
        log_variances = self.log_variances or (0.0,) * len(self.losses)
        parts = zip(self.losses, log_variances, self.active, strict=True)
        return math.fsum(_exp(-s) * loss + s for loss, s, counts in parts if counts)

    @property
    def finite(self) -> bool:
        """Whether all losses and the gradient norm are finite."""
        return all(math.isfinite(item) for item in (*self.losses, self.gradient_norm))

    def named(self, names: Sequence[str]) -> dict[str, float]:
        """The metrics by their names in the log; targets without data have no loss."""
        parts = zip(names, self.losses, self.active, strict=True)
        metrics = {"loss": self.total, "gradient_norm": self.gradient_norm}
        metrics |= {f"loss/{name}": loss for name, loss, counts in parts if counts}
        return metrics | {f"log_variance/{name}": item for name, item in zip(names, self.log_variances, strict=False)}


class MetricBuffer:
    """Rows of `Step.take`, float32, oldest first: losses, whether active, log variances if any, gradient norm."""

    def __init__(self, targets: int, context: DistributedContext) -> None:
        self._targets, self._context = targets, context
        self._rows: list[Tensor] = []

    def add(self, row: Tensor) -> None:
        """Add the row of one more step; it stays on its device."""
        self._rows.append(row)

    def fetch(self, step: int) -> list[StepMetrics]:
        """Metrics of the steps up to `step` since the last call; waits for the device and the other processes.

        Losses are summed over the processes, each of which has the loss of its part of the batch.
        """
        if not self._rows:
            return []
        rows = torch.stack(self._rows)
        self._rows = []
        rows[:, : self._targets] = self._context.summed(rows[:, : self._targets].contiguous())
        first = step - len(rows) + 1
        return [self._step_metrics(first + index, row) for index, row in enumerate(rows.tolist())]

    def _step_metrics(self, step: int, row: Sequence[float]) -> StepMetrics:
        count = self._targets
        losses, active, log_variances = row[:count], row[count : 2 * count], row[2 * count : -1]
        return StepMetrics(step, tuple(losses), tuple(item > 0 for item in active), tuple(log_variances), row[-1])


def _exp(exponent: float) -> float:
    try:
        return math.exp(exponent)
    except OverflowError:
        return math.inf
