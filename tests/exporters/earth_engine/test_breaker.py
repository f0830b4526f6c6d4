"""When an export stops: after failures in a row, or refusals in unknown words that are no matter of single chips."""

from __future__ import annotations

import pytest

from exporters.earth_engine.batch_size import OneRefused, OneTooLarge
from exporters.earth_engine.breaker import REFUSED_CHIPS, Breaker
from pipeline.errors import Fatal, Transient

ODD = OneRefused("Earth Engine refuses the request: an odd text of 42 words")


def refuse(breaker: Breaker, times: int, good_between: int = 0) -> None:
    for _ in range(times):
        breaker.failed(ODD)
        for _ in range(good_between):
            breaker.succeeded()


def test_unknown_words_that_repeat_stop_with_the_whole_text() -> None:
    breaker = Breaker(100)
    refuse(breaker, REFUSED_CHIPS - 1, 2)
    with pytest.raises(Fatal, match="an odd text of 42 words"):
        breaker.failed(ODD)


def test_unknown_words_for_one_chip_in_a_hundred_stop_nothing() -> None:
    breaker = Breaker(100)
    refuse(breaker, 10 * REFUSED_CHIPS, 100)


def test_known_failures_stop_only_in_a_row() -> None:
    breaker = Breaker(20)
    for _ in range(19):
        breaker.failed(OneTooLarge("large"))
    breaker.succeeded()
    for _ in range(19):
        breaker.failed(OneTooLarge("large"))
    with pytest.raises(Transient, match="20 chips in a row.*large"):
        breaker.failed(OneTooLarge("large"))
