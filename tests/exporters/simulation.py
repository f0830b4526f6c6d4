"""A service with quotas and a client with many threads, on a clock that jumps from event to event."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

from exporters.earth_engine.limiter import RateController, Refusal, Ticket


@dataclass
class Service:
    """Refuses what comes above so many at once, or faster than a bucket of tokens fills."""

    concurrent: int = 10**6
    requests_per_s: float = 1e6
    burst: float = 100.0
    noise: float = 0.0
    active: int = 0
    peak: int = 0
    _tokens: float = 1e9
    _then_s: float = 0.0
    _random: random.Random = field(default_factory=lambda: random.Random(0))

    def refusal(self, now_s: float) -> Refusal | None:
        """Why this request is refused; None when it is admitted."""
        if self._random.random() < self.noise:
            return Refusal(1.0)
        self._tokens = min(self.burst, self._tokens + (now_s - self._then_s) * self.requests_per_s)
        self._then_s = now_s
        if self._tokens < 1:
            return Refusal(1.0, names_the_rate=True)
        self._tokens -= 1
        if self.active >= self.concurrent:
            return Refusal(1.0)
        self.active += 1
        self.peak = max(self.peak, self.active)
        return None


@dataclass
class Outcome:
    """Moments at which replies came, and refusals; the most the controller let be in flight at once."""

    served: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    begun: list[float] = field(default_factory=list)
    most_in_flight: int = 0
    most_allowed: int = 0

    def throughput(self, start_s: float, end_s: float) -> float:
        return sum(start_s <= moment < end_s for moment in self.served) / (end_s - start_s)

    def share_refused(self, start_s: float, end_s: float) -> float:
        refused = sum(start_s <= moment < end_s for moment in self.refused)
        return refused / max(1, refused + sum(start_s <= moment < end_s for moment in self.served))


class Simulation:
    """`threads` that always have work, paced by a controller, against a service. `run` can be repeated."""

    def __init__(
        self, controller: RateController, service: Service, latency_s: float, threads: int, seed: int = 0
    ) -> None:
        self.controller, self.service, self.latency_s = controller, service, latency_s
        self.idle = threads
        self.now_s = 0.0
        self.restricted = False
        self.outcome = Outcome()
        self._events: list[tuple[float, int, str, float, Refusal | Ticket | None]] = []
        self._count = 0
        self._random = random.Random(seed)

    def _push(self, moment: float, what: str, started_s: float = 0.0, about: Refusal | Ticket | None = None) -> None:
        self._count += 1
        heapq.heappush(self._events, (moment, self._count, what, started_s, about))

    def _wait(self, ticket: Ticket) -> None:
        self._push(max(self.now_s, ticket.due_s), "begin", about=ticket)

    def run(self, until_s: float) -> Outcome:
        self._fill()
        while self._events and self._events[0][0] <= until_s:
            self.now_s, _, what, started_s, about = heapq.heappop(self._events)
            if isinstance(about, Ticket):
                self._begin(about)
            elif what == "reply":
                self._reply(started_s, about)
            else:
                self.idle += 1
            self._fill()
        self.now_s = until_s
        return self.outcome

    def _fill(self) -> None:
        while self.idle and self.controller.has_room():
            self.idle -= 1
            self._wait(self.controller.start(self.now_s))
        self.outcome.most_in_flight = max(self.outcome.most_in_flight, self.controller.in_flight)
        self.outcome.most_allowed = max(self.outcome.most_allowed, self.controller.concurrency)

    def _begin(self, ticket: Ticket) -> None:
        if not self.controller.begins(ticket, self.now_s):
            self._wait(self.controller.ticket(self.now_s))
            return
        self.outcome.begun.append(self.now_s)
        refusal = self.service.refusal(self.now_s)
        takes_s = 0.002 if refusal else self.latency_s * self._random.uniform(0.9, 1.1)
        self._push(self.now_s + takes_s, "reply", self.now_s, refusal)

    def _reply(self, started_s: float, refusal: Refusal | None) -> None:
        if refusal:
            self.controller.refused(started_s, self.now_s, refusal)
            self.controller.end()
            self.outcome.refused.append(self.now_s)
            self._push(self.now_s + 1.0 + self._random.uniform(0, 2.0), "again")
            return
        self.service.active -= 1
        self.controller.served(started_s, self.restricted)
        self.controller.end()
        self.outcome.served.append(self.now_s)
        self.idle += 1
