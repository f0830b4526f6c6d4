"""What was computed for the latest windows, found again for every window inside them: layers of a chip share it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from sandbox.raster.stored import Window

T = TypeVar("T")


class Recent(Generic[T]):
    """Values by lattice and window, the latest `most` of them, of windows up to a number of pixels. Thread-safe."""

    def __init__(self, most: int, pixels: int = 1 << 60) -> None:
        self._order: deque[tuple[Hashable, Window]] = deque()
        self._kept: dict[Hashable, dict[Window, T]] = {}
        self._most, self._pixels, self._lock = most, pixels, threading.Lock()

    def around(self, lattice: Hashable, window: Window) -> tuple[Window, T] | None:
        """The window itself or the latest one that holds it, with its value."""
        with self._lock:
            kept = self._kept.get(lattice, {})
            if window in kept:
                return window, kept[window]
            return next(((outer, value) for outer, value in reversed(kept.items()) if holds(outer, window)), None)

    def keep(self, lattice: Hashable, window: Window, value: T) -> T:
        """Remember the value of a small window, and give it back; or the one that another thread kept meanwhile."""
        if window.width * window.height > self._pixels:
            return value
        with self._lock:
            kept = self._kept.setdefault(lattice, {})
            if window not in kept:
                kept[window] = value
                self._order.append((lattice, window))
                self._drop_oldest()
            return kept[window]

    def _drop_oldest(self) -> None:
        if len(self._order) <= self._most:
            return
        lattice, window = self._order.popleft()
        del self._kept[lattice][window]
        if not self._kept[lattice]:
            del self._kept[lattice]


def holds(outer: Window, inner: Window) -> bool:
    """Whether all pixels of the inner window are in the outer one."""
    return (
        outer.column <= inner.column
        and outer.row <= inner.row
        and outer.column + outer.width >= inner.column + inner.width
        and outer.row + outer.height >= inner.row + inner.height
    )


def cutting(outer: Window, inner: Window) -> tuple[slice, slice]:
    """The slices (rows, columns) of an inner window in an outer window's arrays."""
    row, column = inner.row - outer.row, inner.column - outer.column
    return slice(row, row + inner.height), slice(column, column + inner.width)


def widened(window: Window, margin: int) -> Window:
    """The window with a margin of pixels on each side."""
    return Window(window.column - margin, window.row - margin, window.width + 2 * margin, window.height + 2 * margin)
