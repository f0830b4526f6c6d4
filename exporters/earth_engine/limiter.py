"""Limits for requests in flight and requests per second: adapted to the replies, never above the configured ones."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from exporters.earth_engine.aimd import AIMD
from pipeline.errors import Fatal

RESTRICTED_CONCURRENCY = 2  # Earth Engine does not document the number; two in flight were always admitted
_GOOD_REPLIES = 20  # in a row without the header before the restriction counts as lifted
_RATE_WINDOW_S = 2.0


class Clock(Protocol):
    """A monotonic time in seconds, and a way to wait."""

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
    """An HTTP 429: how long the service asks us to wait, and whether its text names the rate (else the concurrency)."""

    retry_after_s: float
    names_the_rate: bool = False


class RateLimiter(Protocol):
    """Every request passes one, in this process or in another; safe for many threads.

    A request is made inside `slot`, which yields the time at which it began. Before the slot is left, `served` or
    `refused` reports the reply.
    """

    @property
    def concurrency(self) -> int: ...

    @property
    def restricted(self) -> bool: ...

    def slot(self) -> AbstractContextManager[float]: ...

    def served(self, started_s: float, restricted: bool = False) -> None: ...

    def refused(self, started_s: float, refusal: Refusal) -> None: ...

    def pause(self, seconds: float) -> None: ...

    def stop(self, why: str) -> None: ...


@dataclass(frozen=True)
class Ticket:
    """When a request may begin: not before `due_s`, and only while its schedule is valid."""

    due_s: float
    schedule: int


class RateController:
    """Decides when a request may start. Holds no lock and never waits, so that tests can run it on any clock.

    Concurrency and rate adapt separately (`aimd.AIMD`). The refusal of a request that began before the last
    decrease changes nothing: one decrease per round trip.
    """

    def __init__(self, concurrency: int, requests_per_s: float, now_s: float) -> None:
        self.in_flight = 0
        self.restricted = False
        self._concurrency = AIMD(concurrency, floor=1, step=1, step_share=0, proven_rounds=4)
        # 60 rounds are a minute: Earth Engine counts requests per minute, so it refuses a rate that is too high late.
        self._rate = AIMD(requests_per_s, floor=0.5, step=0.1, step_share=0.04, proven_rounds=60)
        self._rate.value = requests_per_s
        self._next_s = self._held_until_s = now_s
        self._schedule = 0  # increases when the issued tickets become invalid
        self._decreased_s = -float("inf")
        self._started: deque[float] = deque()
        self._good_replies = 0

    @property
    def concurrency(self) -> int:
        """How many requests may be in flight now."""
        return int(min(self._concurrency.value, RESTRICTED_CONCURRENCY) if self.restricted else self._concurrency.value)

    @property
    def requests_per_s(self) -> float:
        """How many requests may start per second now."""
        return self._rate.value

    def has_room(self) -> bool:
        """Whether one more request may be in flight."""
        return self.in_flight < self.concurrency

    def start(self, now_s: float) -> Ticket:
        """Count one more request in flight; returns its ticket."""
        self.in_flight += 1
        return self.ticket(now_s)

    def ticket(self, now_s: float) -> Ticket:
        """When the next request may begin. After a pause, as many requests as the concurrency may begin at once."""
        interval_s = 1.0 / self._rate.value
        due_s = max(self._next_s, now_s - self._concurrency.value * interval_s)
        self._next_s = due_s + interval_s
        return Ticket(due_s, self._schedule)

    def begins(self, ticket: Ticket, now_s: float) -> bool:
        """Whether a request whose ticket is due may begin now; otherwise it needs a new ticket."""
        if now_s < self._held_until_s or ticket.schedule != self._schedule:
            return False
        self._started.append(now_s)
        while self._started[0] < now_s - _RATE_WINDOW_S:
            self._started.popleft()
        return True

    def end(self) -> None:
        """Count one request less in flight."""
        self.in_flight -= 1

    def hold(self, until_s: float) -> None:
        """Let no request begin before this time. All waiting requests need new tickets: theirs were issued for a rate
        that was refused, and would add to the new ones.
        """
        if until_s > self._held_until_s:
            self._held_until_s = self._next_s = until_s
            self._schedule += 1

    def served(self, started_s: float, restricted: bool) -> None:
        """Count a reply other than 429 to a request that began at `started_s`."""
        self._update_restriction(restricted)
        if started_s > self._decreased_s:
            self._concurrency.served()
            self._rate.served()

    def refused(self, started_s: float, now_s: float, refusal: Refusal) -> None:
        """Count a 429 to a request that began at `started_s`, and decrease the rate or the concurrency."""
        self.hold(now_s + refusal.retry_after_s)
        if started_s <= self._decreased_s:
            return
        if refusal.names_the_rate:
            recent = sum(now_s - _RATE_WINDOW_S <= moment <= now_s for moment in self._started) / _RATE_WINDOW_S
            self._rate.refused(_load(recent, self._rate.value))
        else:
            self._concurrency.refused(_load(self.in_flight, self._concurrency.value))
        self._decreased_s = now_s

    def _update_restriction(self, restricted: bool) -> None:
        if restricted:
            self._good_replies = 0
            self._concurrency.fall_to(RESTRICTED_CONCURRENCY)
            self.restricted = True
        elif self.restricted:
            self._good_replies += 1
            self.restricted = self._good_replies < _GOOD_REPLIES


def _load(measured: float, allowed: float) -> float:
    """The load at a refusal. A load far below `allowed` says little about the limit: at least half of it is counted."""
    return max(0.5 * allowed, min(measured, allowed))


class Limiter:
    """The `RateLimiter` of one process, or of all processes of a run (`exporters.earth_engine.limiter_service`)."""

    def __init__(self, concurrency: int, requests_per_s: float, clock: Clock | None = None) -> None:
        self.clock = clock or RealClock()
        self._controller = RateController(concurrency, requests_per_s, self.clock.now())
        self._changed = threading.Condition()
        self._stopped = ""

    @property
    def stopped(self) -> str:
        """Why no request may begin any more; empty while they may."""
        return self._stopped

    @property
    def concurrency(self) -> int:
        """How many requests may be in flight now."""
        with self._changed:
            return self._controller.concurrency

    @property
    def restricted(self) -> bool:
        """Whether Earth Engine now reports that the project's compute quota is used up."""
        with self._changed:
            return self._controller.restricted

    @contextmanager
    def slot(self) -> Iterator[float]:
        """Wait until one more request may be in flight and the rate allows it; yields the time at which it began.

        Raises `Fatal` once `stop` was called.
        """
        ticket = self._enter()
        try:
            self._await(ticket)
            yield self.clock.now()
        finally:
            self._leave()

    def _enter(self) -> Ticket:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._controller.has_room())
            refuse_stopped(self._stopped)
            return self._controller.start(self.clock.now())

    def _await(self, ticket: Ticket) -> None:
        """Sleep until the ticket is due; again with a new ticket if the schedule has changed in the meantime."""
        while True:
            wait_s = ticket.due_s - self.clock.now()
            if wait_s > 0:
                self.clock.sleep(wait_s)
            with self._changed:
                refuse_stopped(self._stopped)
                if self._controller.begins(ticket, self.clock.now()):
                    return
                ticket = self._controller.ticket(self.clock.now())

    def _leave(self) -> None:
        with self._changed:
            self._controller.end()
            self._changed.notify()

    def served(self, started_s: float, restricted: bool = False) -> None:
        """Count a reply other than 429; `restricted` is what its quota header says."""
        with self._changed:
            self._controller.served(started_s, restricted)
            self._changed.notify()

    def refused(self, started_s: float, refusal: Refusal) -> None:
        """Count a 429."""
        with self._changed:
            self._controller.refused(started_s, self.clock.now(), refusal)

    def pause(self, seconds: float) -> None:
        """Let no request start for `seconds`."""
        with self._changed:
            self._controller.hold(self.clock.now() + seconds)

    def stop(self, why: str) -> None:
        """Let no request begin any more: whoever waits for a slot, or asks for one later, gets this sentence."""
        with self._changed:
            self._stopped = self._stopped or why
            self._changed.notify_all()


def refuse_stopped(why: str) -> None:
    """Raise `Fatal` where requests were stopped."""
    if why:
        raise Fatal(why)
