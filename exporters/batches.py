"""Asking for many things in one request, and for fewer at once when Earth Engine says that it is too much."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from pipeline.errors import Fatal, TooLarge

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class OneTooLarge(Fatal):
    """Even a single item is more than Earth Engine computes at once; among many chips, that is one chip's failure."""


class AtOnce:
    """How many items a request may carry; shrinks when one was too large, and remembers. Safe for many threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()

    @property
    def limit(self) -> int:
        """The most that has not been refused yet."""
        return self._limit

    def shrink(self, refused: int) -> None:
        """Remember that `refused` items were too many."""
        with self._lock:
            self._limit = max(1, min(self._limit, refused // 2))

    def ask(self, items: Sequence[Item], request: Callable[[Sequence[Item]], Answer]) -> Iterator[Answer]:
        """Answers of `request` for consecutive parts of `items`, halved wherever one is `TooLarge`.

        Raises `OneTooLarge` when a single item is too large.
        """
        remaining = list(items)
        while remaining:
            part = remaining[: self._limit]
            try:
                yield request(part)
            except TooLarge as error:
                if len(part) == 1:
                    raise OneTooLarge(f"even one item is too much at once ({error}); ask for smaller chips.") from error
                self.shrink(len(part))
                continue
            del remaining[: len(part)]
