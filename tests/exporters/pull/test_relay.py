"""Shards take turns at pulling, and no failure keeps the turn."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from exporters.pull.relay import Relay


def test_the_next_shard_begins_when_the_last_chip_of_the_one_before_has_begun() -> None:
    relay, went, second_begins = Relay(), [], threading.Event()

    def second() -> None:
        with relay.leg(1):
            went.append("second")
            second_begins.set()

    with ThreadPoolExecutor(1) as pool:
        with relay.leg(2) as leg:
            done = pool.submit(second)
            leg.begun()
            assert not second_begins.wait(0.1)
            went.append("last chip of the first")
            leg.begun()
            assert second_begins.wait(60), "though the first is not through"
        done.result()
    assert went == ["last chip of the first", "second"]


def test_a_shard_that_fails_or_has_nothing_to_pull_hands_over() -> None:
    relay = Relay()
    with pytest.raises(ValueError, match="lost"), relay.leg(5) as leg:
        leg.begun()
        raise ValueError("lost")
    with relay.leg(0):
        pass
    with relay.leg(1) as leg:
        leg.begun()
        leg.begun()
    assert not relay._turn.locked()
