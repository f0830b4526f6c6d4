"""The same work on many items at once, in threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def each(work: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """Results as they come, in no order. After the first failure nothing new begins, and it is raised once what
    is under way has ended: so finished work is kept. A result that was yielded is not held any longer.
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
