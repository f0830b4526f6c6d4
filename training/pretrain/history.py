"""The losses at a run's beginning and end: enough to say whether it learned, small enough for every checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_MOST_STEPS = 20


@dataclass
class LossHistory:
    """Per step, one loss per target, NaN where the batch had nothing to predict; the first and last few steps."""

    names: Sequence[str]
    metrics: int
    first: list[list[float]] = field(default_factory=list)
    last: list[list[float]] = field(default_factory=list)

    @classmethod
    def of(cls, names: Sequence[str], steps: int) -> LossHistory:
        """For a run of `steps`; the two ends never overlap by more than they must."""
        return cls(tuple(names), max(1, min(_MOST_STEPS, steps // 4)))

    def add(self, losses: Sequence[float], active: Sequence[bool]) -> None:
        """Record a step."""
        row = [loss if counts else math.nan for loss, counts in zip(losses, active, strict=True)]
        if len(self.first) < self.metrics:
            self.first.append(row)
        self.last = [*self.last, row][-self.metrics :]

    def means(self, rows: Sequence[Sequence[float]]) -> Mapping[str, float]:
        """Mean per target over the steps that had something to predict; targets that never had are left out."""
        columns = {name: [row[index] for row in rows if not math.isnan(row[index])]
                   for index, name in enumerate(self.names)}  # fmt: skip
        return {name: sum(column) / len(column) for name, column in columns.items() if column}

    def state(self) -> dict[str, list[list[float]]]:
        """For a checkpoint."""
        return {"first": self.first, "last": self.last}

    def restore(self, state: Mapping[str, list[list[float]]]) -> None:
        """Go on from `state`."""
        self.first, self.last = list(state["first"]), list(state["last"])
