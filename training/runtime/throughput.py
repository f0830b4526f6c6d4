"""How fast a run goes: chips a second, the share of the time that it waited for data, and when it will be done."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.progress import duration


@dataclass(frozen=True)
class Throughput:
    """Over some steps. A GPU waits less than the host that feeds it, having work queued: the share is a bound."""

    samples_per_s: float
    data_wait_share: float


@dataclass
class ThroughputMeter:
    """Measures between looks; a look must come after the device has done the steps, as fetching losses makes sure.

    The first look ends the start-up (compiling, first reads), which does not count for the whole.
    """

    batch_size: int
    now: Callable[[], float] = time.perf_counter
    _steps: int = 0
    _steps_since: int = 0
    _waited_s: float = 0.0
    _settled_at: float | None = None
    _read_at: float = field(default=0.0)
    _only: float = 0.0

    def __post_init__(self) -> None:
        self._read_at = self.now()

    def update(self, waited_s: float) -> None:
        """A step was handed to the device, after so much waiting for its data."""
        self._steps_since += 1
        self._waited_s += waited_s

    def read(self) -> Throughput:
        """The pace since the last look."""
        now = self.now()
        passed = max(now - self._read_at, 1e-9)
        throughput = Throughput(self._steps_since * self.batch_size / passed, min(1.0, self._waited_s / passed))
        if self._settled_at is None:
            self._settled_at, self._only = now, throughput.samples_per_s
        else:
            self._steps += self._steps_since
        self._read_at, self._steps_since, self._waited_s = now, 0, 0.0
        return throughput

    @property
    def samples_per_s(self) -> float:
        """Of the whole, up to the last look; 0 before the first step, that of the first look after it."""
        if self._settled_at is None:
            return 0.0
        return self._steps * self.batch_size / (self._read_at - self._settled_at) if self._steps else self._only

    def left(self, steps: int) -> str:
        """How long `steps` more will take, for people."""
        if not self.samples_per_s:
            return "?"
        return duration(steps * self.batch_size / self.samples_per_s)
