"""The losses at the start and the end of a run, small enough to be in every checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_MOST_STEPS = 20


@dataclass
class LossHistory:
    """Losses of the first and last `length` steps: per step one per target, NaN where the batch had no data for it."""

    names: Sequence[str]
    length: int
    first: list[list[float]] = field(default_factory=list)
    last: list[list[float]] = field(default_factory=list)

    @classmethod
    def of(cls, names: Sequence[str], steps: int) -> LossHistory:
        """An empty history for a run of `steps`; `length` is at most a quarter of them."""
        return cls(tuple(names), max(1, min(_MOST_STEPS, steps // 4)))

    def add(self, losses: Sequence[float], active: Sequence[bool]) -> None:
        """Record a step."""
        row = [loss if counts else math.nan for loss, counts in zip(losses, active, strict=True)]
        if len(self.first) < self.length:
            self.first.append(row)
        self.last = [*self.last, row][-self.length :]

    def means(self, rows: Sequence[Sequence[float]]) -> Mapping[str, float]:
        """Mean per target over the steps with data for it; targets without such a step are left out."""
        columns = {name: [row[index] for row in rows if not math.isnan(row[index])]
                   for index, name in enumerate(self.names)}  # fmt: skip
        return {name: sum(column) / len(column) for name, column in columns.items() if column}

    def state(self) -> dict[str, list[list[float]]]:
        """For a checkpoint."""
        return {"first": self.first, "last": self.last}

    def restore(self, state: Mapping[str, list[list[float]]]) -> None:
        """Go on from `state`."""
        self.first, self.last = list(state["first"]), list(state["last"])
