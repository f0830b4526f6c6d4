"""Random numbers for the rows of a batch on their device, from keys that follow from (seed, epoch, row) alone."""

from __future__ import annotations

import torch
from torch import Tensor

# SplitMix64 (Steele, Lea and Flood 2014) in signed integers, whose products wrap as those of unsigned ones do.
_GOLDEN, _FIRST, _SECOND = (number - 2**64 for number in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_DIGITS = 24  # What float32 holds exactly.


def uniform(keys: Tensor, purpose: int, count: int) -> Tensor:
    """`count` numbers for each row, (rows, count) float32 in [0, 1), on the device of `keys` (rows,) int64.

    Another `purpose` gives other numbers. The same keys give the same numbers on every device.
    """
    counters = torch.arange(1, count + 1, device=keys.device) * _GOLDEN
    states = _mixed(_mixed(keys + _wrapped(purpose * _SECOND))[:, None] + counters)
    return _shifted(states, 64 - _DIGITS).to(torch.float32) * 2.0**-_DIGITS


def _wrapped(number: int) -> int:
    """The signed integer of 64 bits to which `number` overflows."""
    return (number + 2**63) % 2**64 - 2**63


def _mixed(states: Tensor) -> Tensor:
    states = (states ^ _shifted(states, 30)) * _FIRST
    states = (states ^ _shifted(states, 27)) * _SECOND
    return states ^ _shifted(states, 31)


def _shifted(states: Tensor, bits: int) -> Tensor:
    """A shift to the right that fills up with zeros, as of unsigned integers."""
    return (states >> bits) & (2 ** (64 - bits) - 1)
