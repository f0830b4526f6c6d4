"""Shards of one process take turns at pulling, so that one is pulled while another is written."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class TurnGate:
    """The next shard begins to pull when the last chip of the one before has begun.

    Without it, shards in work share the requests equally, end together, and nothing is asked for while all of them are
    compressed and written.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()

    @contextmanager
    def turn(self, chips: int) -> Iterator[Turn]:
        """Wait for the turn, and hold it until so many chips have begun or the block is left."""
        self._turn.acquire()
        turn = Turn(self._turn, chips)
        try:
            yield turn
        finally:
            turn.hand_over()


class Turn:
    """One shard's turn. Safe for many threads."""

    def __init__(self, turn: threading.Lock, chips: int) -> None:
        self._turn, self._left, self._over = turn, chips, False
        self._lock = threading.Lock()

    def begun(self) -> None:
        """A chip has begun; the last one hands over."""
        with self._lock:
            self._left -= 1
        if self._left <= 0:
            self.hand_over()

    def hand_over(self) -> None:
        """Let the next shard begin; once is enough."""
        with self._lock:
            if not self._over:
                self._over = True
                self._turn.release()
