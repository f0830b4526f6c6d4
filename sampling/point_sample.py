"""A sample of the owner's own points: those that can be kept, and a list of the others with what would keep each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.errors import Fatal
from pipeline.location import NO_CODE
from sampling.allocation import Allocation, Quota
from sampling.constraints import OVERLAP, Constraints
from sampling.dropped import DROPPED, Dropped
from sampling.points import Points
from sampling.regions import Regions, lookup
from sampling.sample import NUMBER_COLUMNS, TEXT_COLUMNS, Sample
from sampling.splits import SplitRule

STRATUM = "points"  # one for all: each is there once, and none stands in for another
_FEW = 5  # of fewer points, nothing is guessed about the table


def sample_points(points: Points, regions: Regions | None, constraints: Constraints, splits: SplitRule) -> Sample:
    """The points that keep the constraints; of two that overlap the later one is left out.

    A split of the owner's own stands, and then there is no buffer between splits. Those that are settled already stay
    out. Raises `Fatal` when none is left.
    """
    terms = constraints if points.split is None else replace(constraints, splits=None)
    known = constraints.settled.knows(points.lonlat)
    reason = _reasons(points.lonlat, terms, known)
    dropped = Dropped.of(points, reason)
    kept = np.flatnonzero((reason == "") & ~known)
    if not len(kept):
        there = f"{known.sum()} were taken before. " if known.any() else ""
        raise Fatal(f"none of your points can be used: {there}{' '.join(dropped.sentences(len(points)))}".strip())
    table = location_table(points, regions, kept)
    split = splits.of(points.lonlat[kept]) if points.split is None else points.split[kept]
    table.insert(len(table.columns), "split", pd.Categorical(split))
    own = points.own.take(pa.array(kept)).to_pandas(types_mapper=pd.ArrowDtype)
    notes = [*points.notes, *_about_split(points, constraints), *_about_place(points, regions)]
    return Sample(
        pd.concat([table, own], axis=1),
        Allocation((Quota(STRATUM, len(kept), "your own points"),)),
        notes=(*notes, *_about(dropped, points)),
        dropped=dropped,
    )


def _reasons(lonlat: NDArray[np.float64], terms: Constraints, known: NDArray[np.bool_]) -> NDArray[np.str_]:
    """Why each point (n, 2), degrees, cannot be used; "" for one that can, and for those that are known: (n,) str."""
    reason = np.full(len(lonlat), "", dtype=object)
    for why, wrong in terms.refusals(lonlat):
        reason[wrong & (reason == "") & ~known] = why
    if not terms.may_overlap:
        free = np.flatnonzero((reason == "") & ~known)
        reason[free[~terms.ground().claim(lonlat[free])]] = OVERLAP
    return reason.astype(np.str_)


def location_table(points: Points, regions: Regions | None, rows: NDArray[np.int64]) -> pd.DataFrame:
    """The columns of `Location`, but the id, of some of the points (rows,); regions say the biome and the ecoregion."""
    lon, lat = points.lonlat[rows].T
    region = np.full(len(rows), -1) if regions is None else lookup(regions, points.lonlat[rows])
    columns: dict[str, Any] = {"lon": lon, "lat": lat, "stratum": pd.Categorical([STRATUM]).repeat(len(rows))}
    for name, theirs in (NUMBER_COLUMNS | TEXT_COLUMNS).items():
        if name != "stratum":
            columns[name] = _of_region(regions, theirs, region, NO_CODE if name in NUMBER_COLUMNS else "")
    return pd.DataFrame(columns)


def _of_region(regions: Regions | None, column: str, region: NDArray[np.int64], none: Any) -> Any:
    """A column (n,) of the regions (n,); `none` where a point is in no region, which is -1."""
    known = [] if regions is None else regions.frame[column].tolist()
    if isinstance(none, int):
        return np.array([*known, none], dtype=np.int64)[region]
    codes, names = pd.factorize(np.array([*known, none], dtype=object))
    return pd.Categorical.from_codes(codes[region], names)


def _about(dropped: Dropped, points: Points) -> Iterator[str]:
    yield from dropped.sentences(len(points))
    if len(dropped):
        yield f"{DROPPED} lists them."


def _about_split(points: Points, constraints: Constraints) -> Iterator[str]:
    if points.split is not None:
        counts = ", ".join(f"{int((points.split == name).sum())} {name}" for name in dict.fromkeys(points.split))
        buffer = "split.buffer_m is not applied" if constraints.buffer_m else "there is no buffer between splits"
        yield f"Column split of your table decides ({counts}): {buffer}."


def _about_place(points: Points, regions: Regions | None) -> Iterator[str]:
    """A warning where the points lie in regions only after an exchange of their coordinates."""
    if regions is None or len(points) < _FEW or np.abs(points.lonlat).max() > 90:
        return
    here, there = ((lookup(regions, lonlat) >= 0).mean() for lonlat in (points.lonlat, points.lonlat[:, ::-1]))
    if here < 0.5 * there:
        yield (
            f"Only {here:.0%} of your points lie in a region, and {there:.0%} would with lon and lat exchanged: look "
            "at the picture."
        )
