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
_BELIEVED = 3  # lots in a row that had to be divided


class AdaptiveBatchSize:
    """How many items a request may carry; shrinks when that proves too large, and remembers. Safe for many threads.

    Such a refusal depends on Earth Engine's load, too, and one of them should not double the requests of a week: it
    divides the lot at hand, and only several lots in a row that had to be divided are remembered. After many answers
    in a row twice as much is tried again, ever more rarely while that is in vain.
    """

    def __init__(self, limit: int) -> None:
        self._most = self._limit = limit
        self._answered = 0
        self._divided: list[int] = []
        self._patience = _FIRST_PATIENCE
        self._lock = threading.Lock()

    @property
    def limit(self) -> int:
        """The most that is asked for now."""
        return self._limit

    def _came(self, count: int) -> None:
        with self._lock:
            self._answered += count >= self._limit
            if self._limit < self._most and self._answered >= self._patience:
                self._limit = min(self._most, 2 * self._limit)
                self._answered = 0

    def _learn(self, wanted: int, went: int) -> None:
        """All of a lot came: `wanted` items were tried at once at first, `went` of them at last."""
        with self._lock:
            if went >= wanted:
                self._divided.clear()
            elif went < self._limit:  # else it began before the limit was lowered, and tells nothing new
                self._divided.append(went)
            if len(self._divided) >= _BELIEVED:
                self._limit = max(self._divided)
                self._patience *= 2
                self._answered = 0
                self._divided.clear()

    def ask(self, items: Sequence[Item], request: Callable[[Sequence[Item]], Answer]) -> Iterator[Answer]:
        """Answers of `request` for consecutive parts of `items`, halved wherever one is `TooLarge`.

        Raises `OneTooLarge` when a single item is too large, twice: once may be Earth Engine's load.
        """
        refused_alone = 0
        remaining = list(items)
        wanted = went = min(len(items), self._limit)
        while remaining:
            part = remaining[:went]
            try:
                answer = request(part)
            except TooLarge as error:
                refused_alone += len(part) == 1
                if refused_alone == 2:
                    raise OneTooLarge(f"even one item is too much at once ({error}); ask for smaller chips.") from error
                went = max(1, len(part) // 2)
                continue
            refused_alone = 0
            self._came(len(part))
            yield answer
            del remaining[: len(part)]
        self._learn(wanted, went)
