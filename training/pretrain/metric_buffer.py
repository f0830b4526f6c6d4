"""What the last few steps came to: kept on the device, and fetched together when somebody looks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.runtime.distributed_context import DistributedContext


@dataclass(frozen=True)
class StepMetrics:
    """Of one step: unweighted `losses` per target, which were `active`, the total that was minimised."""

    step: int
    losses: tuple[float, ...]
    active: tuple[bool, ...]
    log_variances: tuple[float, ...]
    gradient_norm: float

    @property
    def total(self) -> float:
        """The weighted sum over the active targets, as `losses.weigh` has it."""
        spread = self.log_variances or (0.0,) * len(self.losses)
        parts = zip(self.losses, spread, self.active, strict=True)
        return math.fsum(_exp(-s) * loss + s for loss, s, counts in parts if counts)

    @property
    def finite(self) -> bool:
        """Whether the step is one to learn from."""
        return all(math.isfinite(item) for item in (*self.losses, self.gradient_norm))

    def named(self, names: Sequence[str]) -> dict[str, float]:
        """As logged; targets without data have no loss."""
        parts = zip(names, self.losses, self.active, strict=True)
        figures = {"loss": self.total, "gradient_norm": self.gradient_norm}
        figures |= {f"loss/{name}": loss for name, loss, counts in parts if counts}
        return figures | {f"log_variance/{name}": item for name, item in zip(names, self.log_variances, strict=False)}


class MetricBuffer:
    """Rows of `Step.take`, oldest first: losses, whether active, log variances if any, gradient norm."""

    def __init__(self, targets: int, context: DistributedContext) -> None:
        self._targets, self._context = targets, context
        self._rows: list[Tensor] = []

    def add(self, row: Tensor) -> None:
        """Keep the row of one more step, on its device."""
        self._rows.append(row)

    def fetch(self, step: int) -> list[StepMetrics]:
        """Figures of the steps up to `step` that nobody has fetched; waits for the device and the other processes.

        Every process has its share of each loss: they are summed here.
        """
        if not self._rows:
            return []
        rows = torch.stack(self._rows)
        self._rows = []
        rows[:, : self._targets] = self._context.summed(rows[:, : self._targets].contiguous())
        first = step - len(rows) + 1
        return [self._figures(first + index, row) for index, row in enumerate(rows.tolist())]

    def _figures(self, step: int, row: Sequence[float]) -> StepMetrics:
        count = self._targets
        losses, active, spread = row[:count], row[count : 2 * count], row[2 * count : -1]
        return StepMetrics(step, tuple(losses), tuple(item > 0 for item in active), tuple(spread), row[-1])


def _exp(exponent: float) -> float:
    try:
        return math.exp(exponent)
    except OverflowError:
        return math.inf
