"""Pace and time left, on a clock of the test's own."""

from __future__ import annotations

from itertools import pairwise

import pytest

from pipeline.progress import Tracker, duration


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tracker(clock: Clock) -> Tracker:
    return Tracker(clock)


def test_what_an_earlier_run_did_has_no_part_in_the_pace(tracker: Tracker, clock: Clock) -> None:
    tracker.start("export", 1000, 900)
    for _ in range(20):
        clock.seconds += 0.5
        tracker.advance()
    snapshot = tracker.snapshot()
    assert (snapshot.done, snapshot.total) == (920, 1000)
    assert snapshot.per_s == pytest.approx(2.0)
    assert snapshot.left_s == pytest.approx(40.0)


def test_nothing_is_foretold_before_anything_came(tracker: Tracker, clock: Clock) -> None:
    assert tracker.snapshot().stage == ""
    tracker.start("export", 10)
    clock.seconds += 60
    snapshot = tracker.snapshot()
    assert snapshot.per_s is snapshot.left_s is snapshot.requests_per_unit is None


def test_the_pace_is_of_late(tracker: Tracker, clock: Clock) -> None:
    tracker.start("export", 10_000)
    for per_s in (1, 10):
        for _ in range(300):
            clock.seconds += 1
            tracker.advance(per_s)
    assert tracker.snapshot().per_s == pytest.approx(10.0, rel=0.02)


def test_the_pace_falls_while_nothing_comes(tracker: Tracker, clock: Clock) -> None:
    tracker.start("export", 100)
    clock.seconds += 10
    tracker.advance(50)
    paces = []
    for _ in range(5):
        paces.append(tracker.snapshot().per_s or 0.0)
        clock.seconds += 30
    assert all(later < earlier for earlier, later in pairwise(paces))


def test_requests_before_the_stage_are_not_counted(tracker: Tracker, clock: Clock) -> None:
    tracker.start("export", 100)
    tracker.note(requests=57, retries=0)
    for index in range(20):
        tracker.advance()
        tracker.note(requests=57 + 3 * (index + 1), refused="none")
    snapshot = tracker.snapshot()
    assert snapshot.requests_per_unit == pytest.approx(3.0)
    assert snapshot.figures == {"requests": 117, "retries": 0, "refused": "none"}


def test_another_stage_begins_anew(tracker: Tracker, clock: Clock) -> None:
    tracker.start("anchor", 5)
    tracker.note(requests=3)
    tracker.advance(5)
    tracker.start("export", 100, 7)
    snapshot = tracker.snapshot()
    assert (snapshot.stage, snapshot.done, snapshot.figures, snapshot.per_s) == ("export", 7, {}, None)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (59.6, "60 s"), (130, "130 s"), (200, "3 min"), (3599, "59 min"), (12_000, "3 h 20 min"),
     (90_000, "1 d 1 h")],
)  # fmt: skip
def test_durations_are_said_with_two_units(seconds: float, said: str) -> None:
    assert duration(seconds) == said
