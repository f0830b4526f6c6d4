"""The owner's points that are left out, each with the reason and the setting that would keep it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from pipeline import durable
from pipeline.own_columns import OUTLINE
from sampling.constraints import BUFFER, EXCLUDED, OVERLAP
from sampling.points import Points

DROPPED = "dropped.csv"
_KEEP_WITH = {
    OVERLAP: "sampling.overlap=allow",
    BUFFER: "split.buffer_m=0",
    EXCLUDED: "sampling.exclude=[]",
}


@dataclass(frozen=True)
class Dropped:
    """`table` has the row in the owner's table (from 1), lon, lat, the reason, the setting that would keep the point
    (`keep_with`), and the owner's columns.
    """

    table: pa.Table

    @classmethod
    def of(cls, points: Points, reason: NDArray[np.str_]) -> Dropped:
        """Those with a reason (n,), which is "" for the points that stay."""
        rows = np.flatnonzero(reason != "")
        lon, lat = points.lonlat[rows].T
        why = reason[rows].tolist()
        first = {
            "row": rows + 1,
            "lon": lon,
            "lat": lat,
            "reason": why,
            "keep_with": [_KEEP_WITH[each] for each in why],
        }
        own = points.own.take(pa.array(rows))
        readable = [name for name in own.column_names if own.schema.field(name).type != OUTLINE]
        return cls(pa.table(first | {name: own.column(name) for name in readable}))

    def __len__(self) -> int:
        return len(self.table)

    def counts(self) -> dict[str, int]:
        """By reason."""
        tally = self.table.column("reason").value_counts().to_pylist()
        return {each["values"]: each["counts"] for each in tally}

    def sentences(self, points: int) -> Iterator[str]:
        """One for each reason, of so many points in all."""
        for reason, count in self.counts().items():
            yield f"{count} of your {points} points left out: each {reason}; {_KEEP_WITH[reason]} keeps them."


def write_dropped(path: Path, dropped: Dropped) -> None:
    """Publish the list; raises `Fatal` when it cannot be written."""
    durable.publish(path, lambda temporary: pa_csv.write_csv(dropped.table, temporary))
