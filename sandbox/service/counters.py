"""Counts of the server's requests: by endpoint and status, concurrency, bytes, repeated expressions."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any


class Counters:
    """Thread-safe counts since the start or the last reset."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active = 0
        self.reset()

    def reset(self) -> None:
        """Reset all counts except the requests in flight."""
        with self._lock:
            self._requests: Counter[str] = Counter()
            self._statuses: Counter[str] = Counter()
            self._by_endpoint: dict[str, Counter[str]] = {}
            self._expressions: dict[str, Counter[str]] = {}
            self._algorithms: Counter[str] = Counter()
            self._faults: Counter[str] = Counter()
            self._bytes_in = self._bytes_out = self._peak = 0
            self._seconds = 0.0

    def enter(self) -> int:
        """Count the start of a request; returns the number in flight, this one included."""
        with self._lock:
            self._active += 1
            self._peak = max(self._peak, self._active)
            return self._active

    def leave(self) -> None:
        """Count the end of a request."""
        with self._lock:
            self._active -= 1

    def answered(self, endpoint: str, status: int, bytes_in: int, bytes_out: int) -> None:
        """Count a reply."""
        with self._lock:
            self._requests[endpoint] += 1
            self._statuses[str(status)] += 1
            self._by_endpoint.setdefault(endpoint, Counter())[str(status)] += 1
            self._bytes_in += bytes_in
            self._bytes_out += bytes_out

    def evaluated(self, endpoint: str, expression_hash: str, algorithms: set[str], cpu_seconds: float) -> None:
        """Count an evaluated expression and the algorithms that it used."""
        with self._lock:
            self._expressions.setdefault(endpoint, Counter())[expression_hash] += 1
            self._algorithms.update(algorithms)
            self._seconds += cpu_seconds

    def fault(self, kind: str) -> None:
        """Count an injected fault."""
        with self._lock:
            self._faults[kind] += 1

    def snapshot(self) -> dict[str, Any]:
        """All counts as JSON types.

        `expressions` has, per endpoint, the number of different expressions and the count of the most frequent one.
        """
        with self._lock:
            expressions = {
                endpoint: {"distinct": len(c), "requests": c.total(), "most_repeated": max(c.values())}
                for endpoint, c in self._expressions.items()
            }
            return {
                "requests": dict(self._requests),
                "total": self._requests.total(),
                "statuses": dict(self._statuses),
                "statuses_by_endpoint": {e: dict(c) for e, c in self._by_endpoint.items()},
                "expressions": expressions,
                "algorithms": dict(self._algorithms),
                "faults": dict(self._faults),
                "in_flight": self._active,
                "peak_concurrency": self._peak,
                "bytes_in": self._bytes_in,
                "bytes_out": self._bytes_out,
                "evaluation_cpu_seconds": self._seconds,
            }
