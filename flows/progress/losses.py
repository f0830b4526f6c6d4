"""Losses of layers while they are trained: the last values, and whether each falls."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

FALLS, STAYS, RISES, UNKNOWN = "↓", "→", "↑", " "
_MOST = 20  # values that a direction is read from
_FEWEST = 4
_SURE = 2.0  # standard errors that a slope differs from zero by
_GAP = 3


@dataclass
class Losses:
    """The last values of each loss, told one after the other."""

    values: dict[str, deque[float]] = field(default_factory=dict)

    def add(self, losses: Mapping[str, float]) -> None:
        """One more value of each."""
        for name, value in losses.items():
            if math.isfinite(value):
                self.values.setdefault(name, deque(maxlen=_MOST)).append(value)

    def arrow(self, name: str) -> str:
        """Whether a loss falls, stays or rises, by the slope of its last values; " " while they are too few."""
        values = np.array(self.values[name])
        if len(values) < _FEWEST:
            return UNKNOWN
        steps = np.arange(len(values)) - (len(values) - 1) / 2
        slope = float(steps @ values / (steps @ steps))
        rest = values - values.mean() - slope * steps
        error = math.sqrt(float(rest @ rest) / (len(values) - 2) / float(steps @ steps))
        if abs(slope) <= _SURE * error or slope == 0:
            return STAYS
        return FALLS if slope < 0 else RISES

    def summary(self) -> str:
        """How many fall at present, in a few words; "" without any."""
        if not self.values:
            return ""
        falling = sum(self.arrow(name) == FALLS for name in self.values)
        return f"{falling} of {len(self.values)} losses fall now"

    def table(self, width: int) -> list[str]:
        """Lines of at most `width` characters: names, last values and arrows, in as many columns as fit."""
        if not self.values:
            return []
        room = min(max(map(len, self.values)), max(8, width - 12))
        shown = {name: f"{_digits(values[-1]):>8} {self.arrow(name)}" for name, values in self.values.items()}
        cells = [f"{name[:room]:<{room}} {text}" for name, text in shown.items()]
        columns = max(1, (width + _GAP) // (len(cells[0]) + _GAP))
        rows = -(-len(cells) // columns)
        return [(" " * _GAP).join(cells[row::rows]).rstrip() for row in range(rows)]


def _digits(value: float) -> str:
    """Three digits, of a whole number too, so that a column of them is even."""
    return f"{value:#.3g}".rstrip(".")
