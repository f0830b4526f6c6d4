"""Whether this process may still write: whoever publishes a file asks, so that a lock taken over is noticed before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_guards: list[Callable[[], None]] = []


def check() -> None:
    """Raise `Fatal` when a lock that this process works under is no longer its own."""
    for guard in tuple(_guards):
        guard()


@contextmanager
def guarded(refuse: Callable[[], None]) -> Iterator[None]:
    """Let `check` call `refuse`, which raises `Fatal`, inside the block."""
    _guards.append(refuse)
    try:
        yield
    finally:
        _guards.remove(refuse)
