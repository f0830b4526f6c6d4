"""Speed is chips over the time between looks, and the start-up does not count for the whole."""

from __future__ import annotations

import pytest

from training.runtime.throughput import ThroughputMeter


class Time:
    """A clock that only moves when told."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_pace_and_whole() -> None:
    time = Time()
    meter = ThroughputMeter(8, time)
    assert meter.samples_per_s == 0 and meter.left(3) == "?"
    time.now_s += 40  # Compiling.
    meter.update(1.0)
    assert meter.read().samples_per_s == 8 / 40
    assert meter.samples_per_s == 8 / 40, "the only step so far"
    for _ in range(4):
        time.now_s += 2
        meter.update(0.5)
    throughput = meter.read()
    assert (throughput.samples_per_s, throughput.data_wait_share) == (4.0, 0.25)
    time.now_s += 8
    meter.update(0.0)
    assert meter.read().data_wait_share == 0
    assert meter.samples_per_s == pytest.approx(5 * 8 / 16)


def test_time_left_is_said_as_people_say_it() -> None:
    time = Time()
    meter = ThroughputMeter(1, time)
    time.now_s += 1
    meter.update(0.0)
    meter.read()
    said = {59: "59 s", 200: "3 min", 3720: "1 h 2 min", 172_800 + 3600: "2 d 1 h"}
    assert {steps: meter.left(steps) for steps in said} == said
