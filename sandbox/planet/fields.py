"""Smooth fields of a window of pixels, spread from nodes when they are first read, and their limits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sandbox.planet.lattice import spread
from sandbox.raster.stored import Window

F32 = NDArray[np.float32]

# Fields on one line are read together.
_GROUPS = (
    ("patch", "mix", "tree", "shrub", "grass", "conifer", "rain", "warmth", "swing"),
    ("height",), ("east", "north"), ("crop",), ("town",), ("road",), ("river",), ("lake",), ("wet",), ("mangrove",),
    ("season",), ("warp_a", "warp_b"),
)  # fmt: skip
NAMES = tuple(name for group in _GROUPS for name in group)
_INDEX = {name: k for k, name in enumerate(NAMES)}
_GROUP_OF = {name: group for group in _GROUPS for name in group}
_ROUNDING = 1e-5


class Fields:
    """Fields (height, width) float32 of a window, from nodes (len(NAMES), rows, columns) every `step` pixels."""

    def __init__(self, nodes: F32, window: Window, step: int) -> None:
        self._nodes, self._window, self._step = nodes, window, step
        self._spread: dict[str, F32] = {}
        flat = nodes.reshape(len(nodes), -1)
        low, high = flat.min(axis=1), flat.max(axis=1)
        slack = _ROUNDING * np.maximum(np.abs(low), np.abs(high))
        self._low, self._high = (low - slack).tolist(), (high + slack).tolist()

    def __getitem__(self, name: str) -> F32:
        if name not in self._spread:
            group = _GROUP_OF[name]
            nodes = self._nodes[_INDEX[group[0]] : _INDEX[group[-1]] + 1]
            self._spread.update(zip(group, spread(nodes, self._window, self._step), strict=True))
        return self._spread[name]

    def low(self, name: str) -> float:
        """A number that the field is nowhere below; of an interpolated field, its least node."""
        return float(self._low[_INDEX[name]])

    def high(self, name: str) -> float:
        """A number that the field is nowhere above."""
        return float(self._high[_INDEX[name]])

    def least(self, name: str) -> float:
        """A number that the field's size is nowhere below: 0 if it changes its sign."""
        return max(self.low(name), -self.high(name), 0.0)
