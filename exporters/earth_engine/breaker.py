"""Stops an export when not single chips fail but the service, the network, or the same thing for many chips."""

from __future__ import annotations

import threading

from exporters.earth_engine.batch_size import OneRefused
from pipeline.errors import Fatal, Transient

REFUSED_CHIPS, REFUSED_SHARE = 5, 0.05


class Breaker:
    """Counts chips that fail: in a row, up to `limit`, and those refused in unknown words. Safe for many threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._in_a_row = self._tried = self._refused = 0
        self._lock = threading.Lock()

    def succeeded(self) -> None:
        """Count a chip that was pulled."""
        with self._lock:
            self._tried += 1
            self._in_a_row = 0

    def failed(self, error: Exception) -> None:
        """Count a chip that was given up.

        Raises `Transient` when `limit` chips in a row have failed, and `Fatal` when so many were refused in unknown
        words that it is no matter of single chips: `REFUSED_CHIPS`, and more than `REFUSED_SHARE` of those tried.
        """
        with self._lock:
            self._tried += 1
            self._in_a_row += 1
            self._refused += isinstance(error, OneRefused)
            broken, refused = self._in_a_row >= self._limit, self._refused
            repeats = refused >= REFUSED_CHIPS and refused > REFUSED_SHARE * self._tried
        if repeats and isinstance(error, OneRefused):
            raise Fatal(
                f"{refused} chips were refused with texts that are not known here, so the run stops. The last one: "
                f"{str(error).rstrip('.')}. See docs/refusals.md, and leave out the modality that it is about."
            ) from error
        if broken:
            raise Transient(
                f"{self._limit} chips in a row could not be pulled (the last one: {str(error).rstrip('.')}); "
                "see whether Earth Engine can be reached."
            ) from error
