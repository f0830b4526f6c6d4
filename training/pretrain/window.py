"""What the last few steps came to: kept on the device, and fetched together when somebody looks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.runtime.world import World


@dataclass(frozen=True)
class StepFigures:
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
        return all(math.isfinite(one) for one in (*self.losses, self.gradient_norm))

    def named(self, names: Sequence[str]) -> dict[str, float]:
        """As logged; targets without data have no loss."""
        parts = zip(names, self.losses, self.active, strict=True)
        figures = {"loss": self.total, "gradient_norm": self.gradient_norm}
        figures |= {f"loss/{name}": loss for name, loss, counts in parts if counts}
        return figures | {f"log_variance/{name}": one for name, one in zip(names, self.log_variances, strict=False)}


class Window:
    """Rows of `Step.take`, oldest first: losses, whether active, log variances if any, gradient norm."""

    def __init__(self, targets: int, world: World) -> None:
        self._targets, self._world = targets, world
        self._rows: list[Tensor] = []

    def add(self, row: Tensor) -> None:
        """Keep the row of one more step, on its device."""
        self._rows.append(row)

    def fetch(self, step: int) -> list[StepFigures]:
        """Figures of the steps up to `step` that nobody has fetched; waits for the device and the other processes.

        Every process has its share of each loss: they are summed here.
        """
        if not self._rows:
            return []
        rows = torch.stack(self._rows)
        self._rows = []
        rows[:, : self._targets] = self._world.summed(rows[:, : self._targets].contiguous())
        first = step - len(rows) + 1
        return [self._figures(first + place, row) for place, row in enumerate(rows.tolist())]

    def _figures(self, step: int, row: Sequence[float]) -> StepFigures:
        count = self._targets
        losses, active, spread = row[:count], row[count : 2 * count], row[2 * count : -1]
        return StepFigures(step, tuple(losses), tuple(one > 0 for one in active), tuple(spread), row[-1])


def _exp(exponent: float) -> float:
    try:
        return math.exp(exponent)
    except OverflowError:
        return math.inf
