"""The last results of a slow call, shared by threads: each is made once, and only who needs it waits for it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class SharedResults(Generic[Key, Value]):
    """Calls `make` once for a key while its result is among the last `size`; nothing is locked during a call.

    What `make` raises goes to all who wait for that result, and is not kept.
    """

    def __init__(self, make: Callable[[Key], Value], size: int) -> None:
        self._make, self._size = make, size
        self._results: OrderedDict[Key, Future[Value]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, key: Key) -> Value:
        """The result for a key, made in this thread if no other has made it or is making it."""
        with self._lock:
            known = self._results.get(key)
            result = self._results[key] = known or Future()
            self._results.move_to_end(key)
            if len(self._results) > self._size:
                self._results.popitem(last=False)
        if known is None:
            self._fill(key, result)
        return result.result()

    def _fill(self, key: Key, result: Future[Value]) -> None:
        try:
            result.set_result(self._make(key))
        except BaseException as error:
            with self._lock:
                self._results.pop(key, None)
            result.set_exception(error)
