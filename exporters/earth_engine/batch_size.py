"""Many items in one request, and fewer when Earth Engine refuses the request as too large."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from exporters.earth_engine.faults import UnknownRefusal
from pipeline.errors import Fatal, TooLarge

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class OneTooLarge(Fatal):
    """Even a single item is too large for one request; for an export of many chips, only this chip fails."""


class OneRefused(OneTooLarge):
    """A single item is refused, in words that are not known here."""


_FIRST_PATIENCE = 200  # full requests answered before a larger size is tried again
_DIVISIONS_BELIEVED = 3  # the limit falls after so many divided batches in a row


class AdaptiveBatchSize:
    """How many items a request may carry: fewer after refusals as too large. Safe for many threads.

    Such a refusal also depends on Earth Engine's load, and one of them should not double the requests of a week. It
    divides the present batch only; the limit falls after several divided batches in a row. After many answers in a row
    twice as many items are tried again, more rarely after each failed try: `patience` full requests at first.
    """

    def __init__(self, most: int, first: int | None = None, patience: int = _FIRST_PATIENCE) -> None:
        self._ceiling, self._limit = most, most if first is None else first
        self._answered = 0
        self._divided: list[int] = []
        self._patience = patience
        self._lock = threading.Lock()

    @property
    def limit(self) -> int:
        """The most items that a request carries now."""
        return self._limit

    def _count_answer(self, count: int) -> None:
        with self._lock:
            self._answered += count >= self._limit
            if self._limit < self._ceiling and self._answered >= self._patience:
                self._limit = min(self._ceiling, 2 * self._limit)
                self._answered = 0

    def _record_division(self, first_size: int, last_size: int) -> None:
        """Record a batch that was answered: it began with `first_size` items a request and ended with `last_size`."""
        with self._lock:
            if last_size >= first_size:
                self._divided.clear()
            elif last_size < self._limit:  # else the batch began before the limit was lowered
                self._divided.append(last_size)
            if len(self._divided) >= _DIVISIONS_BELIEVED:
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
        first_size = last_size = min(len(items), self._limit)
        while remaining:
            part = remaining[:last_size]
            try:
                answer = request(part)
            except TooLarge as error:
                refused_alone += len(part) == 1
                if refused_alone == 2:
                    raise _alone(error) from error
                last_size = max(1, len(part) // 2)
                continue
            refused_alone = 0
            self._count_answer(len(part))
            yield answer
            del remaining[: len(part)]
        self._record_division(first_size, last_size)


def _alone(error: TooLarge) -> OneTooLarge:
    """The error of a single item that is refused with `error`."""
    if isinstance(error, UnknownRefusal):
        return OneRefused(f"{error}")
    return OneTooLarge(f"even one item is too much at once ({error}); ask for smaller chips.")
