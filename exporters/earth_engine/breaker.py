"""When to stop giving up on single chips: nothing comes any more, so it is the service or the line, not the chips."""

from __future__ import annotations

import threading

from pipeline.errors import Transient


class Breaker:
    """Counts failures in a row. Safe for many threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._in_a_row = 0
        self._lock = threading.Lock()

    def came(self) -> None:
        """Something was answered."""
        with self._lock:
            self._in_a_row = 0

    def failed(self, error: Exception) -> None:
        """Something was given up; raises `Transient` when that is the rule."""
        with self._lock:
            self._in_a_row += 1
            broken = self._in_a_row >= self._limit
        if broken:
            raise Transient(
                f"{self._limit} chips in a row could not be pulled (the last one: {str(error).rstrip('.')}); "
                "see whether Earth Engine can be reached."
            ) from error
