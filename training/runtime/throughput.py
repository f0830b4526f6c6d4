"""The speed of a run: chips per second, fraction of the time spent waiting for data, and time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pipeline.progress import duration


@dataclass(frozen=True)
class Throughput:
    """Over some steps. `data_wait_share` is that of the host, an upper bound for a GPU, which has work queued."""

    samples_per_s: float
    data_wait_share: float


@dataclass
class ThroughputMeter:
    """Measures between calls of `read`, which must follow a synchronisation with the device, such as fetching losses.

    The first `read` ends the start-up (compilation, first reads of data), which `samples_per_s` leaves out.
    """

    batch_size: int
    now: Callable[[], float] = time.perf_counter
    _steps: int = 0
    _steps_since: int = 0
    _waited_s: float = 0.0
    _started_at: float | None = None
    _read_at: float = field(default=0.0)
    _first_samples_per_s: float = 0.0

    def __post_init__(self) -> None:
        self._read_at = self.now()

    def update(self, waited_s: float) -> None:
        """Record a step whose data took `waited_s` seconds to arrive."""
        self._steps_since += 1
        self._waited_s += waited_s

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens meanwhile takes no time."""
        began = self.now()
        yield
        passed_s = self.now() - began
        self._read_at += passed_s
        if self._started_at is not None:
            self._started_at += passed_s

    def read(self) -> Throughput:
        """The throughput since the last `read`."""
        now = self.now()
        elapsed_s = max(now - self._read_at, 1e-9)
        throughput = Throughput(self._steps_since * self.batch_size / elapsed_s, min(1.0, self._waited_s / elapsed_s))
        if self._started_at is None:
            self._started_at, self._first_samples_per_s = now, throughput.samples_per_s
        else:
            self._steps += self._steps_since
        self._read_at, self._steps_since, self._waited_s = now, 0, 0.0
        return throughput

    @property
    def samples_per_s(self) -> float:
        """From the first `read` to the last; 0 before the first, and the throughput of the start-up after only one."""
        if self._started_at is None:
            return 0.0
        return (
            self._steps * self.batch_size / (self._read_at - self._started_at)
            if self._steps
            else self._first_samples_per_s
        )

    def left(self, steps: int) -> str:
        """The time for `steps` more steps, as text."""
        if not self.samples_per_s:
            return "?"
        return duration(steps * self.batch_size / self.samples_per_s)
