"""Results that threads share: made once, and nobody waits for what another makes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from training.data.shared_results import SharedResults


def test_a_result_is_made_once_and_the_last_are_kept() -> None:
    made: list[int] = []
    results = SharedResults(lambda key: made.append(key) or key * 2, 2)
    assert [results(key) for key in (1, 2, 1, 3, 1, 2)] == [2, 4, 2, 6, 2, 4]
    assert made == [1, 2, 3, 2]


def test_nobody_waits_for_what_another_makes() -> None:
    """Two results are made at the same time: each waits for the other to begin."""
    together = threading.Barrier(2, timeout=30)
    results = SharedResults(lambda key: together.wait() >= 0, 2)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(results, (1, 2))) == [True, True]


def test_who_needs_the_same_waits_for_it() -> None:
    made, begun, go_on = [], threading.Event(), threading.Event()

    def make(key: int) -> int:
        made.append(key)
        begun.set()
        assert go_on.wait(30)
        return key

    results = SharedResults(make, 2)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(results, 7)
        assert begun.wait(30)
        second = pool.submit(results, 7)
        go_on.set()
        assert (first.result(), second.result(), made) == (7, 7, [7])


def test_an_error_is_raised_and_not_kept() -> None:
    tries: list[int] = []

    def make(key: int) -> int:
        tries.append(key)
        return 1 // (len(tries) - 1)

    results = SharedResults(make, 2)
    with pytest.raises(ZeroDivisionError):
        results(1)
    assert results(1) == 1
