"""Progress of long work, as reported to the code that started it, and the rate and time left that follow from it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

Figure = float | str
_WINDOW_S = 120.0  # long enough that one shard's write or one pause of the server does not dominate the rate
_SHORTEST_S = 1.0


class Progress(Protocol):
    """Receives progress; safe to call from many threads."""

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """A stage of `total` units begins; an earlier run finished `done` of them."""

    def advance(self, count: int = 1) -> None:
        """`count` more units of the current stage are finished."""

    def note(self, **figures: Figure) -> None:
        """Figures worth showing beside the bar, such as requests_per_chip=1.01."""

    def say(self, sentence: str) -> None:
        """Show a sentence that stays readable, such as what was left out and why."""


class Silent:
    """Progress that is not shown."""

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """Ignore it."""

    def advance(self, count: int = 1) -> None:
        """Ignore it."""

    def note(self, **figures: Figure) -> None:
        """Ignore them."""

    def say(self, sentence: str) -> None:
        """Ignore it."""


@dataclass(frozen=True)
class Snapshot:
    """The progress of a stage: units done and in total, recent units per second, seconds left, and its figures.

    `per_s`, `left_s` and `requests_per_unit` are None before the first unit is done.
    """

    stage: str = ""
    done: int = 0
    total: int = 0
    per_s: float | None = None
    left_s: float | None = None
    requests_per_unit: float | None = None
    figures: dict[str, Figure] = field(default_factory=dict)


class Tracker:
    """Progress that is recorded, to compute the rate and the time left. Safe for many threads."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        self._stage, self._total, self._done = "", 0, 0
        self._figures: dict[str, Figure] = {}
        self._moments: deque[tuple[float, int]] = deque()
        self._first_requests: tuple[float, int] | None = None

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """Begin a stage, and forget the rate of the one before."""
        with self._lock:
            self._stage, self._total, self._done = stage, total, done
            self._figures, self._first_requests = {}, None
            self._moments = deque([(self._now_s(), done)])

    def advance(self, count: int = 1) -> None:
        """Count units, and drop moments that are older than the window."""
        with self._lock:
            now_s = self._now_s()
            self._done += count
            self._moments.append((now_s, self._done))
            while len(self._moments) > 2 and self._moments[1][0] < now_s - _WINDOW_S:
                self._moments.popleft()

    def note(self, **figures: Figure) -> None:
        """Store figures; `requests` are counted from the first figure of the stage."""
        with self._lock:
            self._figures |= figures
            requests = figures.get("requests")
            if self._first_requests is None and isinstance(requests, int | float):
                self._first_requests = (requests, self._done)

    def say(self, sentence: str) -> None:
        """Ignore it."""

    def snapshot(self) -> Snapshot:
        """The progress of the stage now."""
        with self._lock:
            per_s = self._per_s()
            left_s = (self._total - self._done) / per_s if per_s else None
            return Snapshot(
                self._stage, self._done, self._total, per_s, left_s, self._requests_per_unit(), dict(self._figures)
            )

    def _per_s(self) -> float | None:
        """Units per second over the window; the rate falls while no unit is finished."""
        if not self._moments:
            return None
        began_s, before = self._moments[0]
        seconds = self._now_s() - began_s
        return (self._done - before) / seconds if seconds >= _SHORTEST_S and self._done > before else None

    def _requests_per_unit(self) -> float | None:
        requests = self._figures.get("requests")
        if self._first_requests is None or not isinstance(requests, int | float):
            return None
        first, before = self._first_requests
        return (requests - first) / (self._done - before) if self._done > before else None


def duration(seconds: float) -> str:
    """Seconds as short text: "40 s", "12 min", "3 h 20 min", "4 d 6 h"."""
    minutes, rest_s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes >= 3 else f"{60 * minutes + rest_s} s"
