"""Where the CPU time of an export's threads goes: functions of the exporter, timed where they are called."""

from __future__ import annotations

import functools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import ee

from exporters.earth_engine import client, compute_pixels, transport
from exporters.pull import blocks, encoding, export, pull
from pipeline import corpus, sharding, spool

# The functions of each part. What one of them calls that is a part of its own counts there alone.
PARTS: Mapping[str, tuple[tuple[Any, str], ...]] = {
    "graph building": (
        (pull.Puller, "_image"), (pull.Puller, "_asked"), (compute_pixels, "encoded"), (pull.Puller, "_split_absent"),
    ),
    "HTTP": ((compute_pixels, "compute_pixels"), (ee.data, "_execute_cloud_call"), (transport.Transport, "_exchange")),
    "limiter": ((transport.Transport, "request"),),
    "decoding": ((client, "decoded"), (pull, "_gather"), (encoding, "arrived")),
    "checks": ((pull, "_checked"), (export, "inspect")),
    "compression": ((sharding.ChipCodec, "compressed"),),
    "local layers": ((pull.Puller, "local"),),
    "files": (
        (spool.Spool, "put"), (spool.Spool, "get"), (spool.Spool, "clear"), (export, "_split_by_spool"),
        (blocks.Blocks, "put"), (corpus.Corpus, "write"),
    ),
}  # fmt: skip
REST = "the rest: threads, progress, start"


@dataclass
class Shares:
    """CPU seconds by part, each without the parts within it. Safe for many threads."""

    seconds: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _inner_s: threading.local = field(default_factory=threading.local)

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose time counts for the part."""

        @functools.wraps(function)
        def wrapper(*values: Any, **named: Any) -> Any:
            outer_s = getattr(self._inner_s, "value", 0.0)
            self._inner_s.value, began_s = 0.0, time.thread_time()
            try:
                return function(*values, **named)
            finally:
                took_s = time.thread_time() - began_s
                with self._lock:
                    self.seconds[part] += took_s - self._inner_s.value
                self._inner_s.value = outer_s + took_s

        return wrapper

    def show(self, chips: int, total_ms: float) -> None:
        """A line for each part: milliseconds a chip, and the share of all, without compression too."""
        each = {part: 1e3 * seconds / chips for part, seconds in self.seconds.most_common()}
        each[REST] = total_ms - sum(each.values())
        others_ms = total_ms - each.get("compression", 0.0)
        for part, milliseconds in each.items():
            without = "" if part == "compression" else f"{milliseconds / others_ms:8.1%} without compression"
            print(f"  {part:<36}{milliseconds:7.2f} ms{milliseconds / total_ms:8.1%}{without}")


@contextmanager
def counted() -> Iterator[Shares]:
    """Time the functions of `PARTS` in the block, in all threads of this process."""
    shares = Shares()
    with ExitStack() as patches:
        for part, functions in PARTS.items():
            for owner, name in functions:
                patches.enter_context(patch.object(owner, name, shares.timed(part, getattr(owner, name))))
        yield shares
