"""Shards take turns at pulling, and no failure keeps the turn."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from exporters.pull.turn_gate import TurnGate


def test_the_next_shard_begins_when_the_last_chip_of_the_one_before_has_begun() -> None:
    gate, went, second_begins = TurnGate(), [], threading.Event()

    def second() -> None:
        with gate.turn(1):
            went.append("second")
            second_begins.set()

    with ThreadPoolExecutor(1) as pool:
        with gate.turn(2) as turn:
            done = pool.submit(second)
            turn.begun()
            assert not second_begins.wait(0.1)
            went.append("last chip of the first")
            turn.begun()
            assert second_begins.wait(60), "though the first is not through"
        done.result()
    assert went == ["last chip of the first", "second"]


def test_a_shard_that_fails_or_has_nothing_to_pull_hands_over() -> None:
    gate = TurnGate()
    with pytest.raises(ValueError, match="lost"), gate.turn(5) as turn:
        turn.begun()
        raise ValueError("lost")
    with gate.turn(0):
        pass
    with gate.turn(1) as turn:
        turn.begun()
        turn.begun()
    assert not gate._gate.locked()
