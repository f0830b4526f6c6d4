"""The published generator's outputs, and its mixing function number by number."""

from __future__ import annotations

import numpy as np

from pipeline.splitmix import GOLDEN, mixed


def one_by_one(number: int) -> int:
    """As published, in Python's integers."""
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    number = (number ^ number >> 27) * 0x94D049BB133111EB % 2**64
    return number ^ number >> 31


def test_the_mixing_is_splitmix64() -> None:
    """The first outputs for seed 0 of the published generator."""
    outputs = mixed(np.arange(1, 4, dtype=np.uint64) * GOLDEN)
    assert [hex(output) for output in outputs] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4", "0x6c45d188009454f"]


def test_many_at_once_are_mixed_as_one_by_one() -> None:
    numbers = np.random.default_rng(0).integers(0, 2**64, (10, 100), dtype=np.uint64)
    assert mixed(numbers).ravel().tolist() == [one_by_one(number) for number in numbers.ravel().tolist()]
