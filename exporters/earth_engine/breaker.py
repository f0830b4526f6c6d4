"""Stops an export after many failed chips in a row: then the service or the network fails, not the single chips."""

from __future__ import annotations

import threading

from pipeline.errors import Transient


class Breaker:
    """Counts failures in a row, up to `limit`. Safe for many threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._in_a_row = 0
        self._lock = threading.Lock()

    def succeeded(self) -> None:
        """Count a chip that was pulled."""
        with self._lock:
            self._in_a_row = 0

    def failed(self, error: Exception) -> None:
        """Count a chip that was given up. Raises `Transient` when `limit` chips in a row have failed."""
        with self._lock:
            self._in_a_row += 1
            broken = self._in_a_row >= self._limit
        if broken:
            raise Transient(
                f"{self._limit} chips in a row could not be pulled (the last one: {str(error).rstrip('.')}); "
                "see whether Earth Engine can be reached."
            ) from error
