"""How fast we may ask: requests in flight and per second, found by asking, and never above what is configured."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from exporters.earth_engine.aimd import AIMD

RESTRICTED_CONCURRENCY = 2  # Earth Engine does not say how many it then admits; two keep going and are few
_GOOD_REPLIES = 20  # in a row without the header before the restriction counts as lifted
_RATE_WINDOW_S = 2.0


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


@dataclass(frozen=True)
class Refusal:
    """A 429: what the service asks us to wait, and whether it blames the rate and not the number at once."""

    retry_after_s: float
    names_the_rate: bool = False


class RateLimiter(Protocol):
    """What stands before every request, here or in another process; safe for many threads.

    A request happens inside `slot`, which yields the moment when it began; then `served` or `refused` says, before
    the slot is left, what became of it.
    """

    @property
    def concurrency(self) -> int: ...

    @property
    def restricted(self) -> bool: ...

    def slot(self) -> AbstractContextManager[float]: ...

    def served(self, started_s: float, restricted: bool = False) -> None: ...

    def refused(self, started_s: float, refusal: Refusal) -> None: ...

    def pause(self, seconds: float) -> None: ...


@dataclass(frozen=True)
class Ticket:
    """A request's place in the order of beginning: not before `due_s`, and not at all once the pace has changed."""

    due_s: float
    pace: int


class RateController:
    """What may start when; holds no lock and never waits, so that it can be run on any clock.

    Concurrency and rate adapt separately (`level.Level`). Refusals of requests that began before the last
    decrease change nothing: one decrease per round trip.
    """

    def __init__(self, concurrency: int, requests_per_s: float, now_s: float) -> None:
        self.in_flight = 0
        self.restricted = False
        self._concurrency = AIMD(concurrency, floor=1, step=1, step_share=0, proven_rounds=4)
        # A minute: quotas of requests are counted per minute, so a rate may be too high for long unnoticed.
        self._rate = AIMD(requests_per_s, floor=0.5, step=0.1, step_share=0.04, proven_rounds=60)
        self._rate.value = requests_per_s
        self._next_s = self._held_until_s = now_s
        self._pace = 0  # goes up when turns that were given become too early
        self._decreased_s = -float("inf")
        self._started: deque[float] = deque()
        self._good = 0

    @property
    def concurrency(self) -> int:
        """How many may be in flight now."""
        return int(min(self._concurrency.value, RESTRICTED_CONCURRENCY) if self.restricted else self._concurrency.value)

    @property
    def requests_per_s(self) -> float:
        """How many may start a second now."""
        return self._rate.value

    def has_room(self) -> bool:
        """Whether one more may be in flight."""
        return self.in_flight < self.concurrency

    def start(self, now_s: float) -> Ticket:
        """Take a place; returns the turn to begin at."""
        self.in_flight += 1
        return self.ticket(now_s)

    def ticket(self, now_s: float) -> Ticket:
        """When the next request may begin. A rested bucket holds one request per place."""
        interval_s = 1.0 / self._rate.value
        due_s = max(self._next_s, now_s - self._concurrency.value * interval_s)
        self._next_s = due_s + interval_s
        return Ticket(due_s, self._pace)

    def begins(self, ticket: Ticket, now_s: float) -> bool:
        """Whether a request whose turn has come begins now; otherwise it needs another turn."""
        if now_s < self._held_until_s or ticket.pace != self._pace:
            return False
        self._started.append(now_s)
        while self._started[0] < now_s - _RATE_WINDOW_S:
            self._started.popleft()
        return True

    def end(self) -> None:
        """Give the place back."""
        self.in_flight -= 1

    def hold(self, until_s: float) -> None:
        """Let nothing begin before this moment. All who wait for a turn take another: theirs were given for a pace that
        was refused, and would come on top of new ones.
        """
        if until_s > self._held_until_s:
            self._held_until_s = self._next_s = until_s
            self._pace += 1

    def served(self, started_s: float, restricted: bool) -> None:
        """A reply that is no refusal came to a request that began at `started_s`."""
        self._look_at_quota(restricted)
        if started_s > self._decreased_s:
            self._concurrency.served()
            self._rate.served()

    def refused(self, started_s: float, now_s: float, refusal: Refusal) -> None:
        """A 429 came to a request that began at `started_s`."""
        self.hold(now_s + refusal.retry_after_s)
        if started_s <= self._decreased_s:
            return
        if refusal.names_the_rate:
            recent = sum(now_s - _RATE_WINDOW_S <= moment <= now_s for moment in self._started) / _RATE_WINDOW_S
            self._rate.refused(_load(recent, self._rate.value))
        else:
            self._concurrency.refused(_load(self.in_flight, self._concurrency.value))
        self._decreased_s = now_s

    def _look_at_quota(self, restricted: bool) -> None:
        if restricted:
            self._good = 0
            self._concurrency.fall_to(RESTRICTED_CONCURRENCY)
            self.restricted = True
        elif self.restricted:
            self._good += 1
            self.restricted = self._good < _GOOD_REPLIES


def _load(seen: float, allowed: float) -> float:
    """The load at a refusal. One far below what is allowed says little about the limit: half counts at least."""
    return max(0.5 * allowed, min(seen, allowed))


class Limiter:
    """The pace of one process, or, behind `exporters.earth_engine.limiter_service`, of all processes of a run."""

    def __init__(self, concurrency: int, requests_per_s: float, clock: Clock | None = None) -> None:
        self.clock = clock or RealClock()
        self._controller = RateController(concurrency, requests_per_s, self.clock.now())
        self._changed = threading.Condition()

    @property
    def concurrency(self) -> int:
        """How many requests may be in flight now."""
        with self._changed:
            return self._controller.concurrency

    @property
    def restricted(self) -> bool:
        """Whether Earth Engine says, at present, that the project's compute quota is used up."""
        with self._changed:
            return self._controller.restricted

    @contextmanager
    def slot(self) -> Iterator[float]:
        """Hold one of the places in flight, once the rate allows it; yields the moment when it began."""
        ticket = self._enter()
        try:
            self._await(ticket)
            yield self.clock.now()
        finally:
            self._leave()

    def _enter(self) -> Ticket:
        with self._changed:
            self._changed.wait_for(self._controller.has_room)
            return self._controller.start(self.clock.now())

    def _await(self, ticket: Ticket) -> None:
        """Sleep until the turn has come, and on while somebody was told to wait in the meantime."""
        while True:
            wait_s = ticket.due_s - self.clock.now()
            if wait_s > 0:
                self.clock.sleep(wait_s)
            with self._changed:
                if self._controller.begins(ticket, self.clock.now()):
                    return
                ticket = self._controller.ticket(self.clock.now())

    def _leave(self) -> None:
        with self._changed:
            self._controller.end()
            self._changed.notify()

    def served(self, started_s: float, restricted: bool = False) -> None:
        """A reply came; `restricted` is its quota header."""
        with self._changed:
            self._controller.served(started_s, restricted)
            self._changed.notify()

    def refused(self, started_s: float, refusal: Refusal) -> None:
        """A 429 came."""
        with self._changed:
            self._controller.refused(started_s, self.clock.now(), refusal)

    def pause(self, seconds: float) -> None:
        """Let nobody start a request for a while."""
        with self._changed:
            self._controller.hold(self.clock.now() + seconds)
