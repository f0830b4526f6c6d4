"""The open connections of a service: so many and no more, and who has not greeted yet makes room for the others."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

_MOST, _FEWEST = 4096, 64


def room() -> int:
    """How many connections a service may hold: half of the files that this process may open, as a run has others."""
    if resource is None:
        return _FEWEST
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(_FEWEST, min(_MOST, files // 2))


class Guests:
    """At most `most` connections, of which half may be strangers. Safe for many threads.

    A stranger who is in the way of a newcomer is hung up on, the one that came first; who is known never is.
    """

    def __init__(self, most: int) -> None:
        self._most, self._most_strangers = most, max(1, most // 2)
        self._strangers: dict[socket.socket, None] = {}  # in the order in which they came
        self._known: set[socket.socket] = set()
        self._lock = threading.Lock()

    def come(self, guest: socket.socket) -> bool:
        """Take a stranger in; False when all places are taken by guests who are known."""
        with self._lock:
            while self._strangers and self._is_full():
                self._hang_up(next(iter(self._strangers)))
            if self._is_full():
                return False
            self._strangers[guest] = None
            return True

    def _is_full(self) -> bool:
        return len(self._strangers) >= self._most_strangers or len(self._strangers) + len(self._known) >= self._most

    def recognise(self, guest: socket.socket) -> bool:
        """Count a stranger as known; False when it was hung up on meanwhile."""
        with self._lock:
            if guest not in self._strangers:
                return False
            del self._strangers[guest]
            self._known.add(guest)
            return True

    def leave(self, guest: socket.socket) -> None:
        """Give its place back, if it has one."""
        with self._lock:
            self._strangers.pop(guest, None)
            self._known.discard(guest)

    def dismiss(self) -> None:
        """Hang up on all; their threads end then."""
        with self._lock:
            for guest in [*self._strangers, *self._known]:
                self._hang_up(guest)

    def _hang_up(self, guest: socket.socket) -> None:
        self._strangers.pop(guest, None)
        self._known.discard(guest)
        with suppress(OSError):
            guest.shutdown(socket.SHUT_RDWR)
