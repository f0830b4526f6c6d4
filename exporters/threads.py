"""One function applied to many items in parallel threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def each(work: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """Results in the order in which they are ready. After the first error no new item is started; it is raised when the
    items in work have ended, so that their results are not lost. A yielded result is not kept in memory.
    """
    with ThreadPoolExecutor(max_workers=max(1, min(workers, len(items)))) as pool:
        futures = {pool.submit(work, item) for item in items}
        try:
            for future in as_completed(futures):
                futures.discard(future)
                yield future.result()
        finally:
            for future in futures:
                future.cancel()


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
