"""Chips of different corpora and different splits that are nearer to each other than splits should be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from exporters.formats.corpora.footprints import Footprints, gaps_m
from pipeline.corpus import Corpus


@dataclass(frozen=True)
class Leakage:
    """`pairs` of chips closer than `buffer_m`; the nearest are `nearest_m` apart, and are called by their ids."""

    buffer_m: float
    pairs: int = 0
    nearest_m: float = float("inf")
    nearest: tuple[str, str] = ("", "")

    @property
    def sentence(self) -> str:
        """For a person; empty without any pair."""
        if not self.pairs:
            return ""
        return (
            f"{self.pairs} pairs of chips of different splits are closer than {self.buffer_m:g} m, the nearest "
            f"{self.nearest_m:.0f} m ({self.nearest[0]} and {self.nearest[1]}): scores on val and test may be too good."
        )


def leakage(
    corpora: Sequence[Corpus], grounds: Sequence[Footprints], kept: Sequence[NDArray[np.bool_]], buffer_m: float
) -> Leakage:
    """What is nearer than `buffer_m`, between every two corpora, among the chips (n,) that are `kept` of each.

    `grounds` are the squares of all chips of each.
    """
    found = Leakage(buffer_m)
    sides = map(_Side.of, corpora, grounds, kept)
    for one, other in combinations(sides, 2):
        found = _between(one, other, found)
    return found


@dataclass(frozen=True)
class _Side:
    """What is kept of a corpus: its `rows` (n,), their squares and their splits."""

    corpus: Corpus
    rows: NDArray[np.int64]
    footprints: Footprints
    splits: NDArray[np.object_]

    @classmethod
    def of(cls, corpus: Corpus, ground: Footprints, kept: NDArray[np.bool_]) -> _Side:
        splits = corpus.manifest.column("split")[kept]
        return cls(corpus, np.flatnonzero(kept), ground[kept], splits)

    def id_of(self, index: int) -> str:
        return self.corpus.manifest[int(self.rows[index])].location.id


def _between(one: _Side, other: _Side, found: Leakage) -> Leakage:
    for rows, others in one.footprints.near(other.footprints, found.buffer_m):
        differ = one.splits[rows] != other.splits[others]
        rows, others = rows[differ], others[differ]
        apart_m = gaps_m(one.footprints[rows], other.footprints[others])
        if not (near := apart_m < found.buffer_m).any():
            continue
        nearest = int(np.argmin(apart_m))
        found = replace(found, pairs=found.pairs + int(near.sum()))
        if apart_m[nearest] < found.nearest_m:
            names = one.id_of(int(rows[nearest])), other.id_of(int(others[nearest]))
            found = replace(found, nearest_m=float(apart_m[nearest]), nearest=names)
    return found
