"""What one part of the benchmark of exchange found."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple


class Spent(NamedTuple):
    """Seconds of the clock, and of processors in all threads, which the load of others hardly moves."""

    seconds: float
    cpu_s: float


@dataclass(frozen=True)
class Part:
    """A title, MB of values, what each way took, and the figures of the JSON line."""

    title: str
    megabytes: float
    rows: Mapping[str, Spent]
    figures: Mapping[str, float]


def interleaved(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Spent]:
    """The medians of each way, all of them once a round, so that another's load falls on all alike."""
    spent: dict[str, list[Spent]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start, cpu_start = time.perf_counter(), time.process_time()
            way()
            spent[name].append(Spent(time.perf_counter() - start, time.process_time() - cpu_start))
    return {name: Spent(*map(median, zip(*values, strict=True))) for name, values in spent.items()}


def ratios(name: str, plain: Sequence[Spent], ours: Spent) -> dict[str, float]:
    """How many times as fast as the plain ways together ours is: `name` by the clock, `name`_cpu by processors."""
    by_clock, by_cpu = sum(item.seconds for item in plain), sum(item.cpu_s for item in plain)
    return {name: by_clock / ours.seconds, f"{name}_cpu": by_cpu / ours.cpu_s}
