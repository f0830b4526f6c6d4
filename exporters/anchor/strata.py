"""The candidates of every stratum in order of preference: whom to try next, and who fills the quotas at last."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.locations import Locations

_FIRST_SURPLUS = 1.1
_LATER_SURPLUS = 1.3


class Strata:
    """Rows of a table of locations by stratum, strata in the order of their first rows, and how far each was tried.

    A stratum's rows are tried one after the other, so that those tried are always its first. All arrays of strata are
    (strata,), those of candidates (candidates,), stratum by stratum.
    """

    def __init__(self, locations: Locations, quotas: Mapping[str, int]) -> None:
        column = locations.table.column("stratum").combine_chunks()
        known = column.dictionary.to_pylist()
        codes = np.asarray(column.indices.fill_null(len(known)))
        quota = np.array([*(max(0, quotas.get(name, 0)) for name in known), 0], dtype=np.int64)
        chosen = _in_order_of_appearance(codes)
        chosen = chosen[quota[chosen] > 0]
        self.names = [known[code] for code in chosen.tolist()]
        self.quotas = quota[chosen]
        rank = np.full(len(quota), -1, dtype=np.int32)
        rank[chosen] = np.arange(len(chosen))
        self._of_row = rank[codes]
        self.rows = np.argsort(self._of_row, kind="stable")[int((self._of_row < 0).sum()) :]
        sizes = np.bincount(self._of_row[self.rows], minlength=len(chosen))
        self._ends = np.cumsum(sizes)
        self._starts = self._ends - sizes
        self._tried, self._usable = np.zeros_like(sizes), np.zeros_like(sizes)

    def next_round(self) -> NDArray[np.int64]:
        """The rows to try next: per stratum as many as probably fill what is lacking, from what came so far."""
        first = self._starts + self._tried
        count = np.minimum(self._surplus(), self._ends - first)
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        return self.rows[np.repeat(first, count) + within]

    def _surplus(self) -> NDArray[np.int64]:
        """A few more than are lacking, by the stratum's own rate of success: another round costs whole requests."""
        lacking = np.maximum(self.quotas - self._usable, 0)
        rate = (self._usable + 1) / (self._tried + 1)
        return np.ceil(lacking / rate * np.where(self._tried, _LATER_SURPLUS, _FIRST_SURPLUS)).astype(np.int64)

    def count(self, rows: NDArray[np.int64], usable: NDArray[np.bool_]) -> None:
        """These rows were tried, and some of them are usable; a round has to be counted whole before the next."""
        stratum = self._of_row[rows]
        self._tried += np.bincount(stratum, minlength=len(self._tried))
        self._usable += np.bincount(stratum[usable], minlength=len(self._tried))

    def filled(self, usable: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64], dict[str, int]]:
        """Rows that fill the quotas, rows passed over before, and how many are lacking by stratum, from all rows' fate.

        `usable` (locations,) is false as well for those that were not tried.
        """
        good = usable[self.rows]
        stratum = self._of_row[self.rows]
        before = np.concatenate([[0], np.cumsum(good)])
        rank = before[:-1] - before[self._starts][stratum]
        position = np.arange(len(self.rows)) - self._starts[stratum]
        needed = (rank < self.quotas[stratum]) & (position < self._tried[stratum])
        lacking = self.quotas - np.bincount(stratum[needed & good], minlength=len(self.quotas))
        short = {name: int(count) for name, count in zip(self.names, lacking, strict=True) if count}
        return self.rows[needed & good], self.rows[needed & ~good], short


def _in_order_of_appearance(codes: NDArray[np.int32]) -> NDArray[np.int32]:
    present, first = np.unique(codes, return_index=True)
    return present[np.argsort(first)]
