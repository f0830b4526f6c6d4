"""How fast we may ask: a ceiling on requests in flight, and a token bucket for requests per second."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Clock(Protocol):
    """Time as seconds that only grow, and a way to let them pass."""

    def now(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class RealClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        """Seconds since an arbitrary moment."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


class Limiter:
    """Every request to Earth Engine passes through `slot`; safe for many threads.

    The bucket holds one request of credit per thread of concurrency, so a burst is never larger than what may be
    in flight anyway.
    """

    def __init__(self, concurrency: int, requests_per_s: float, clock: Clock | None = None) -> None:
        self.clock = clock or RealClock()
        self._in_flight = threading.BoundedSemaphore(concurrency)
        self._interval_s = 1.0 / requests_per_s
        self._credit_s = concurrency * self._interval_s
        self._next_s = self.clock.now() - self._credit_s
        self._lock = threading.Lock()

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold one of the places in flight, once the rate allows it."""
        with self._in_flight:
            wait_s = self._reserve()
            if wait_s > 0:
                self.clock.sleep(wait_s)
            yield

    def _reserve(self) -> float:
        with self._lock:
            now = self.clock.now()
            due = max(self._next_s, now - self._credit_s)
            self._next_s = due + self._interval_s
            return due - now

    def pause(self, seconds: float) -> None:
        """Let nobody start a request for a while: somebody was refused for asking too fast."""
        with self._lock:
            self._next_s = max(self._next_s, self.clock.now() + seconds)
