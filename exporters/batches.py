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


_FIRST_PATIENCE = 200  # full requests answered before more is tried again


class AtOnce:
    """How many items a request may carry; shrinks when one was too large, and remembers. Safe for many threads.

    Such a refusal depends on Earth Engine's load, too, and one of them should not double the requests of a week: after
    many answers in a row twice as much is tried again, ever more rarely while that is in vain.
    """

    def __init__(self, limit: int) -> None:
        self._most = self._limit = limit
        self._answered = 0
        self._patience = _FIRST_PATIENCE
        self._lock = threading.Lock()

    @property
    def limit(self) -> int:
        """The most that is asked for now."""
        return self._limit

    def shrink(self, refused: int) -> None:
        """Remember that `refused` items were too many."""
        with self._lock:
            if refused // 2 < self._limit:
                self._limit = max(1, refused // 2)
                self._patience *= 2
            self._answered = 0

    def answered(self, count: int) -> None:
        """`count` items were not too many."""
        with self._lock:
            self._answered += count >= self._limit
            if self._limit < self._most and self._answered >= self._patience:
                self._limit = min(self._most, 2 * self._limit)
                self._answered = 0

    def ask(self, items: Sequence[Item], request: Callable[[Sequence[Item]], Answer]) -> Iterator[Answer]:
        """Answers of `request` for consecutive parts of `items`, halved wherever one is `TooLarge`.

        Raises `OneTooLarge` when a single item is too large, twice: once may be Earth Engine's load.
        """
        refused_alone = 0
        remaining = list(items)
        while remaining:
            part = remaining[: self._limit]
            try:
                answer = request(part)
            except TooLarge as error:
                refused_alone += len(part) == 1
                if refused_alone == 2:
                    raise OneTooLarge(f"even one item is too much at once ({error}); ask for smaller chips.") from error
                self.shrink(len(part))
                continue
            refused_alone = 0
            self.answered(len(part))
            yield answer
            del remaining[: len(part)]
