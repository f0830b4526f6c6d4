"""When to retry: full-jitter waits, a budget of attempts per kind of error, and a time limit for refusals (429)."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from exporters.earth_engine.faults import Overloaded
from exporters.earth_engine.limiter import Clock, RealClock
from pipeline.errors import Throttled, Transient

Result = TypeVar("Result")


@dataclass(frozen=True)
class Patience:
    """How often and how long to retry. A 429 does not count as a failed attempt: `throttled_s` limits its retries."""

    transient_attempts: int = 7
    timed_out_attempts: int = 2
    throttled_s: float = 900.0
    first_wait_s: float = 1.0
    longest_wait_s: float = 120.0


class Retry:
    """Runs calls until they succeed or their budget is spent. `seed` draws the waits; safe for many threads.

    The wait before attempt n + 1 is uniform in 0..min(longest, first * 2**n): "full jitter"
    (Brooker 2015, "Exponential backoff and jitter", AWS Architecture Blog).
    """

    def __init__(
        self,
        patience: Patience,
        seed: int = 0,
        clock: Clock | None = None,
        noticed: Callable[[Exception], None] = lambda error: None,
    ) -> None:
        self.patience = patience
        self.clock = clock or RealClock()
        self._noticed = noticed
        self._random = random.Random(seed)  # noqa: S311 - spreads load, guards nothing
        self._lock = threading.Lock()

    def run(self, call: Callable[[], Result]) -> Result:
        """The call's result. Raises the last error once the budget is spent, and any other error at once."""
        budget = _RetryBudget(self.patience, self.clock.now())
        while True:
            try:
                return call()
            except (Transient, Overloaded) as error:
                budget.count(error, self.clock.now())
                self._noticed(error)
                self.clock.sleep(self._wait_s(budget.total, getattr(error, "retry_after_s", None)))

    def _wait_s(self, attempt: int, requested_s: float | None) -> float:
        ceiling = min(self.patience.longest_wait_s, self.patience.first_wait_s * 2.0 ** min(attempt, 30))
        with self._lock:
            return self._random.uniform(0, ceiling) + (requested_s or 0.0)


class _RetryBudget:
    """How many attempts and how much time one call has left."""

    def __init__(self, patience: Patience, started_s: float) -> None:
        self.patience = patience
        self.started_s = started_s
        self.total = 0
        self.transient = 0
        self.timed_out = 0

    def count(self, error: Exception, now_s: float) -> None:
        """Count an error; re-raises it when its budget is spent."""
        self.total += 1
        if isinstance(error, Throttled):
            self._count_refusal(error, now_s)
        elif isinstance(error, Overloaded):
            self.timed_out += 1
            if self.timed_out >= self.patience.timed_out_attempts:
                raise error
        else:
            self.transient += 1
            if self.transient >= self.patience.transient_attempts:
                raise error

    def _count_refusal(self, error: Throttled, now_s: float) -> None:
        if now_s - self.started_s > self.patience.throttled_s:
            raise Transient(
                f"Earth Engine has refused the rate for {self.patience.throttled_s:.0f} s ({error}); "
                "run the same command again later, or with a lower source.concurrency."
            ) from error
