"""Filling the quota of every stratum with locations that a scene serves, round by round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exporters.anchor import outcomes
from exporters.anchor.anchor_rules import AnchorRules
from exporters.anchor.outcomes import REASON, PinnedRows
from exporters.anchor.scene_search import SceneSearch
from exporters.anchor.strata import Strata
from exporters.earth_engine.client import EarthEngine
from pipeline import locations as location_table
from pipeline import manifest
from pipeline.locations import Locations
from pipeline.progress import Progress
from pipeline.rows import GatheredRows, Source, in_one_piece

_PARTS_HELD = 64  # a table of each batch would take as much for its columns as for their rows


@dataclass(frozen=True)
class Anchored:
    """The rows that fill the quotas, what was passed over on the way, and how many are lacking per stratum.

    `rows` has the columns of the manifest, `rejected` those of `Location`, a reason, and those of the places' owner.
    """

    rows: GatheredRows
    rejected: GatheredRows
    shortfalls: dict[str, int] = field(default_factory=dict)

    def rejected_frame(self) -> pd.DataFrame:
        """One row per rejected location: the location's columns, the reason, and those of the places' owner."""
        if not self.rejected.count:
            return pd.DataFrame([], columns=self.rejected.schema.names)
        return self.rejected.part(0, self.rejected.count).to_pandas()


def anchor(
    engine: EarthEngine,
    locations: Locations,
    quotas: Mapping[str, int],
    rules: AnchorRules,
    parts_folder: Path,
    progress: Progress,
) -> Anchored:
    """For every stratum the first `quota` locations, in their order, that a scene serves.

    The result depends on the locations, quotas and rules alone; answers are kept in `parts_folder`, batch by
    batch, so that a run that was killed asks nothing twice.
    """
    strata, search = Strata(locations, quotas), SceneSearch(engine, rules, parts_folder)
    answers = _Answers(len(locations))
    shown, total = 0, sum(quotas.values())
    progress.start("anchor", total)
    while len(wanted := strata.next_round()):
        for rows, part in search.query(locations, wanted):
            usable = answers.add(rows, part)
            strata.count(rows, usable)
            # A surplus is tried, so what is shown stops at the total.
            came = min(int(usable.sum()), total - shown)
            progress.advance(came)
            shown += came
            progress.note(requests=engine.figures().requests, tried=answers.count)
    return _result(locations, strata, quotas, answers, rules)


class _Answers:
    """The outcomes that came so far, as pieces of one table.

    `index` (locations,) is each location's row in that table, `usable` (locations,) whether a scene serves it.
    """

    def __init__(self, locations: int) -> None:
        self.count = 0
        self.index = np.full(locations, -1, dtype=np.int32)
        self.usable = np.zeros(locations, dtype=bool)
        self._whole: list[pa.Table] = []
        self._parts: list[pa.Table] = []

    def add(self, rows: NDArray[np.int64], part: pa.Table) -> NDArray[np.bool_]:
        """Take the outcomes (n,) of these rows (n,); which of them are usable."""
        usable = np.asarray(pc.is_null(part.column(REASON)))
        self.index[rows] = np.arange(self.count, self.count + len(rows))
        self.usable[rows] = usable
        self.count += len(rows)
        self._parts.append(part)
        if len(self._parts) == _PARTS_HELD:
            self._whole.append(in_one_piece(self._parts))
        return usable

    def table(self) -> pa.Table:
        """All outcomes, in the order in which they came; none is held here any longer."""
        pieces = [outcomes.SCHEMA.empty_table(), *self._whole, *self._parts]
        self._whole, self._parts = [], []
        return in_one_piece(pieces)


def _result(
    locations: Locations, strata: Strata, quotas: Mapping[str, int], answers: _Answers, rules: AnchorRules
) -> Anchored:
    filling, passed_over, shortfalls = strata.filled(answers.usable)
    known = set(strata.names)
    absent = {name: quota for name, quota in quotas.items() if quota > 0 and name not in known}
    chosen, rejected = (Source(locations.table, rows) for rows in (filling, passed_over))
    table = answers.table()
    return Anchored(
        PinnedRows.of(chosen, Source(table, answers.index[filling]), rules),
        GatheredRows([rejected, Source(table, answers.index[passed_over])], _rejected_schema(locations)),
        absent | shortfalls,
    )


def _rejected_schema(locations: Locations) -> pa.Schema:
    known = [(name, manifest.SCHEMA.field(name).type) for name in location_table.NAMES]
    return pa.schema([*known, (REASON, pa.string()), *locations.own])
