"""Shards of one process are pulled one after the other, so that one is pulled while another is written."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class TurnGate:
    """Lets the next shard start when the last chip of the previous shard has started.

    Without it, all shards in work share the requests equally and end together; then no requests are made while all of
    them are compressed and written.
    """

    def __init__(self) -> None:
        self._gate = threading.Lock()

    @contextmanager
    def turn(self, chips: int) -> Iterator[Turn]:
        """Wait for the gate, and hold it until `chips` chips have started or the block is left."""
        self._gate.acquire()
        turn = Turn(self._gate, chips)
        try:
            yield turn
        finally:
            turn.hand_over()


class Turn:
    """The turn of one shard. Safe for many threads."""

    def __init__(self, gate: threading.Lock, chips: int) -> None:
        self._gate, self._left, self._over = gate, chips, False
        self._lock = threading.Lock()

    def begun(self) -> None:
        """Count a chip that has started; after the last one the next shard may start."""
        with self._lock:
            self._left -= 1
        if self._left <= 0:
            self.hand_over()

    def hand_over(self) -> None:
        """Let the next shard start; a second call does nothing."""
        with self._lock:
            if not self._over:
                self._over = True
                self._gate.release()
