"""The places that a corpus has already, to which an extension adds: occupied ground, counted towards every quota."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.radius_index import RadiusIndex, chord_m
from sampling.regions import Regions, lookup
from sampling.splits import SplitRule

_PER_DEG = 1e7  # places have 7 decimals


def _no_places() -> NDArray[np.float64]:
    return np.empty((0, 2))


def _no_names() -> NDArray[np.str_]:
    return np.empty(0, dtype=np.str_)


@dataclass(frozen=True)
class Settled:
    """Places of a corpus: `lonlat` (n, 2), degrees, `split` (n,) and `stratum` (n,).

    `useless` (m, 2), degrees, are those of which it is known that no scene serves them.
    """

    lonlat: NDArray[np.float64] = field(default_factory=_no_places)
    split: NDArray[Any] = field(default_factory=_no_names)
    stratum: NDArray[Any] = field(default_factory=_no_names)
    useless: NDArray[np.float64] = field(default_factory=_no_places)

    def __len__(self) -> int:
        return len(self.lonlat)

    def knows(self, lonlat: NDArray[Any]) -> NDArray[np.bool_]:
        """Which points (n, 2), degrees, are in the corpus, or useless: (n,) bool."""
        return np.isin(_keys(lonlat), self._known)

    @cached_property
    def _known(self) -> NDArray[np.int64]:
        return _keys(np.concatenate([self.lonlat, self.useless]))

    def per_region(self, regions: Regions) -> NDArray[np.int64]:
        """How many places each region has (regions,): by the name of their stratum, else by where they are."""
        rows = {name: row for row, name in enumerate(regions.frame["stratum"].tolist())}
        row = np.array([rows.get(name, -1) for name in self.stratum.tolist()], dtype=np.int64)
        strange = row < 0
        if strange.any():
            row[strange] = lookup(regions, self.lonlat[strange])
        return np.bincount(row[row >= 0], minlength=len(regions))

    def loose(self, splits: SplitRule, half_gap_m: float) -> Settled:
        """The places that do not keep the buffer of a rule themselves; what keeps it is far enough from the others."""
        if not len(self):
            return Settled()
        loose = (splits.of(self.lonlat) != self.split) | splits.in_buffer(self.lonlat, half_gap_m)
        return Settled(self.lonlat[loose], self.split[loose], self.stratum[loose])

    def within(self, reach_m: float, lonlat: NDArray[Any], split: NDArray[Any]) -> NDArray[np.bool_]:
        """Which points (n, 2), degrees, each of a split (n,), are nearer to a place of another one: (n,) bool."""
        near = np.zeros(len(lonlat), dtype=bool)
        if len(self):
            index = RadiusIndex(reach_m)
            index.add(self.lonlat, np.arange(len(self)))
            which, member = index.near(lonlat)
            close = chord_m(lonlat[which], self.lonlat[member]) < reach_m
            near[which[close & (split[which] != self.split[member])]] = True
        return near


def _keys(lonlat: NDArray[Any]) -> NDArray[np.int64]:
    """One number for each place."""
    units = np.round(lonlat * _PER_DEG).astype(np.int64)
    return np.asarray(units[:, 0] * 2**31 + units[:, 1])
