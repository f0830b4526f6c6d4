"""Speed is chips over the time between looks, and the start-up does not count for the whole."""

from __future__ import annotations

import pytest

from training.runtime.clock import Clock


class Time:
    """A clock that only moves when told."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_pace_and_whole() -> None:
    time = Time()
    clock = Clock(8, time)
    assert clock.samples_per_s == 0 and clock.left(3) == "?"
    time.now_s += 40  # Compiling.
    clock.tick(1.0)
    assert clock.look().samples_per_s == 8 / 40
    assert clock.samples_per_s == 8 / 40, "the only step so far"
    for _ in range(4):
        time.now_s += 2
        clock.tick(0.5)
    pace = clock.look()
    assert (pace.samples_per_s, pace.data_wait_share) == (4.0, 0.25)
    time.now_s += 8
    clock.tick(0.0)
    assert clock.look().data_wait_share == 0
    assert clock.samples_per_s == pytest.approx(5 * 8 / 16)


def test_time_left_is_said_as_people_say_it() -> None:
    time = Time()
    clock = Clock(1, time)
    time.now_s += 1
    clock.tick(0.0)
    clock.look()
    said = {59: "0 min 59 s", 61: "1 min 01 s", 3720: "1 h 02 min", 172_800 + 3600: "2 d 1 h"}
    assert {steps: clock.left(steps) for steps in said} == said
