"""Locations on grids of their own, where layers come from files and no scene is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time

import numpy as np
import pyarrow as pa

from exporters.anchor.anchoring import Anchored
from exporters.anchor.outcomes import REASON
from exporters.anchor.own_dates import own_dates
from exporters.anchor.strata import Strata
from pipeline import manifest
from pipeline.errors import Fatal
from pipeline.grid import LATTICE_M, Grid, utm_crs
from pipeline.locations import NAMES, Locations
from pipeline.rows import GatheredRows, Source


def grid(locations: Locations, quotas: Mapping[str, int], size_px: int, when: datetime | None) -> Anchored:
    """For every stratum its first `quota` locations, each on the 10 m lattice of its UTM zone, without a scene.

    Their time is the place's own date, or `when` (UTC). Raises `Fatal` for a place that has neither.
    """
    strata = Strata(locations, quotas)
    while len(wanted := strata.next_round()):
        strata.count(wanted, np.ones(len(wanted), dtype=np.bool_))
    filling, _, shortfalls = strata.filled(np.ones(len(locations), dtype=np.bool_))
    chosen = locations.take(filling)
    rows = np.arange(len(chosen))
    schema = pa.schema([*manifest.SCHEMA, *locations.own])
    beside = _grids(chosen, size_px, _times(chosen, when))
    nobody = pa.schema([*(manifest.SCHEMA.field(name) for name in NAMES), (REASON, pa.string()), *locations.own])
    return Anchored(
        GatheredRows([Source(chosen.table, rows), Source(beside, rows)], schema),
        GatheredRows([Source(nobody.empty_table(), rows[:0])], nobody),
        shortfalls,
    )


def _times(locations: Locations, when: datetime | None) -> list[datetime]:
    times: list[datetime] = []
    for row, own in enumerate(own_dates(locations.table, 0)):
        moment = datetime.combine(own.wanted, time(), UTC) if own else when
        if moment is None:
            raise Fatal(
                f'place {locations[row].id} has no date; give files.time = "2020-06-30" for all, or points with a '
                "column `date`."
            )
        times.append(moment)
    return times


def _grids(locations: Locations, size_px: int, times: Sequence[datetime]) -> pa.Table:
    """The columns of the manifest that `Location` does not have."""
    grids = [Grid.around((lon, lat), utm_crs((lon, lat)), size_px) for lon, lat in locations.lonlat.tolist()]
    count = len(grids)
    cells = {
        "crs": [each.crs for each in grids], "origin_x_m": [each.origin_xy[0] for each in grids],
        "origin_y_m": [each.origin_xy[1] for each in grids], "resolution_m": [LATTICE_M] * count,
        "height_px": [size_px] * count, "width_px": [size_px] * count,
        "level": [""] * count, "anchor_id": [""] * count, "anchor_time": list(times),
    }  # fmt: skip
    fields = [field for field in manifest.SCHEMA if field.name not in locations.table.column_names]
    return pa.table(
        [pa.array(cells.get(field.name, [None] * count), field.type) for field in fields], pa.schema(fields)
    )
