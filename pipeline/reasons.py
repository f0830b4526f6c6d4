"""Reasons of many chips, told apart by what they are and not by whose they are."""

from __future__ import annotations

from collections import Counter


def kind_of(reason: str) -> str:
    """A reason without the words that contain digits, so that reasons of different chips add up."""
    return " ".join(word for word in reason.split() if not any(letter.isdigit() for letter in word))


def gathered(counts: Counter[str], most: int) -> Counter[str]:
    """The counts of reasons; by their kinds where there are more than `most` different ones, as of dates."""
    if len(counts) <= most:
        return counts
    kinds: Counter[str] = Counter()
    for reason, count in counts.items():
        kinds[kind_of(reason)] += count
    return kinds
