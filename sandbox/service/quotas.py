"""The service's limits per project: concurrent requests and requests per second; None disables a limit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from sandbox.errors import EarthEngineError


@dataclass(frozen=True)
class Quotas:
    """Earth Engine's defaults (guides/usage, 2026). `burst` is the size of the token bucket, in requests."""

    concurrent: int | None = 40
    requests_per_s: float | None = 100.0
    burst: float = 100.0
    max_bytes: int | None = 48 * 1024 * 1024
    max_bands: int | None = 1024


OFF = Quotas(concurrent=None, requests_per_s=None, max_bytes=None, max_bands=None)


class QuotaExceeded(EarthEngineError):
    """An error with status 429; `retry_after_s` becomes the Retry-After header."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message, 429)
        self.retry_after_s = retry_after_s


class _Project:
    def __init__(self, tokens: float, now: float) -> None:
        self.tokens, self.then, self.active = tokens, now, 0


class Meter:
    """Counts requests per project and refuses those over the quota; thread-safe."""

    def __init__(self, quotas: Quotas, clock: Callable[[], float] = time.monotonic) -> None:
        self._quotas, self._clock = quotas, clock
        self._lock = threading.Lock()
        self._projects: dict[str, _Project] = {}

    def enter(self, project: str) -> None:
        """Admit one request; call `leave` when it ends. Raises QuotaExceeded when it is over a limit."""
        with self._lock:
            state = self._projects.setdefault(project, _Project(self._quotas.burst, self._clock()))
            self._take_token(project, state)
            self._take_slot(state)

    def leave(self, project: str) -> None:
        """Record the end of an admitted request."""
        with self._lock:
            self._projects[project].active -= 1

    def _take_token(self, project: str, state: _Project) -> None:
        rate = self._quotas.requests_per_s
        if rate is None:
            return
        now = self._clock()
        state.tokens = min(self._quotas.burst, state.tokens + (now - state.then) * rate)
        state.then = now
        if state.tokens < 1:
            raise QuotaExceeded(
                "Quota exceeded for quota metric 'Number of requests' and limit 'Number of requests per minute' of "
                f"service 'earthengine.googleapis.com' for consumer 'project:{project}'.",
                (1 - state.tokens) / rate,
            )
        state.tokens -= 1

    def _take_slot(self, state: _Project) -> None:
        limit = self._quotas.concurrent
        if limit is not None and state.active >= limit:
            raise QuotaExceeded("Too Many Requests: Request was rejected because the request rate or the concurrency "
                                "limit was exceeded.", 1.0)  # fmt: skip
        state.active += 1
