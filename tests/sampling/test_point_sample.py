"""A sample of the owner's own points: all of the table comes along, and who is left out is told why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from shapely import Point, box

from pipeline.errors import Fatal
from pipeline.location import location_id, write_location_table
from pipeline.locations import Locations
from sampling.constraints import BUFFER, EXCLUDED, OVERLAP, Constraints
from sampling.dropped import DROPPED, write_dropped
from sampling.exclusion import Exclusion
from sampling.point_sample import STRATUM, sample_points
from sampling.points import Points
from sampling.sample import Sample
from sampling.splits import CellSplits
from tests.sampling.region_tables import regions

RULE = CellSplits((0.9, 0.05, 0.05), 0, 1.0)
PAIR = [(10.0, 50.5), (10.001, 50.5), (20.0, 50.5)]


def points(*lonlat: tuple[float, float], split: list[str] | None = None, **own: list[object]) -> Points:
    return Points(np.array(lonlat), pa.table({"plot": [f"p{row}" for row in range(len(lonlat))]} | own),
                  None if split is None else np.array(split))  # fmt: skip


def sampled(places: Points, constraints: Constraints | None = None) -> Sample:
    return sample_points(places, None, constraints or Constraints(), RULE)


def test_of_two_that_overlap_the_later_one_is_listed_with_what_keeps_it(tmp_path: Path) -> None:
    result = sampled(points(*PAIR))
    assert result.table["lon"].tolist() == [10.0, 20.0] and result.table["plot"].tolist() == ["p0", "p2"]
    assert result.allocation.total == 2 and not result.refused, "nothing was replaced, so nothing says so"
    assert result.notes == (
        "1 of your 3 points left out: each overlaps an earlier footprint; sampling.overlap=allow keeps them.",
        "dropped.csv lists them.",
    )
    assert result.dropped is not None
    write_dropped(tmp_path / DROPPED, result.dropped)
    assert pd.read_csv(tmp_path / DROPPED).to_dict("records") == [
        {"row": 2, "lon": 10.001, "lat": 50.5, "reason": OVERLAP, "keep_with": "sampling.overlap=allow", "plot": "p1"}
    ]
    assert len(sampled(points(*PAIR), Constraints(may_overlap=True)).table) == 3


def test_every_reason_has_its_setting() -> None:
    exclusion = Exclusion.around(np.array([Point(20, 50.5)]), 1000)
    edges = [(10 + step / 50, 50.5) for step in range(200)]
    terms = Constraints(exclusion=exclusion, splits=CellSplits((0.5, 0.3, 0.2), 0, 1.0), buffer_m=5000)
    result = sample_points(points(*PAIR, *edges[1:]), None, terms, RULE)
    assert result.dropped is not None
    listed = result.dropped.table.to_pylist()
    assert {row["reason"]: row["keep_with"] for row in listed} == {
        OVERLAP: "sampling.overlap=allow", EXCLUDED: "sampling.exclude=[]", BUFFER: "split.buffer_m=0",
    }  # fmt: skip
    assert len(listed) + len(result.table) == 202
    assert sum(result.dropped.counts().values()) == len(listed)


def test_points_that_all_lie_in_the_excluded_are_refused() -> None:
    exclusion = Exclusion.around(np.array([Point(10, 50)]), 100_000)
    with pytest.raises(Fatal, match="none of your points can be used: 1 of your 1 points left out: each too near"):
        sampled(points((10.0, 50.5)), Constraints(exclusion=exclusion))


def test_a_split_of_the_owners_own_stands_without_a_buffer() -> None:
    places = [(10.0 + step / 10, 50.5) for step in range(40)]
    split = ["train", "val", "test", "val"] * 10
    terms = Constraints(splits=CellSplits((0.5, 0.3, 0.2), 0, 1.0), buffer_m=5000)
    own = sample_points(points(*places, split=split), None, terms, RULE)
    assert own.table["split"].tolist() == split
    assert own.notes == (
        "Column split of your table decides (10 train, 20 val, 10 test): split.buffer_m is not applied.",
    )
    geographic = sample_points(points(*places), None, terms, RULE)
    assert len(geographic.table) < 40 and geographic.table["split"].tolist() != split


def test_columns_reach_the_table_of_locations(tmp_path: Path) -> None:
    result = sampled(points(*PAIR, count=[1, None, 3]))
    write_location_table(tmp_path / "l.parquet", result.table)
    back = Locations.read(tmp_path / "l.parquet")
    assert [back[row].id for row in range(2)] == [location_id(10.0, 50.5), location_id(20.0, 50.5)]
    assert back.table.select(["plot", "count"]).to_pydict() == {"plot": ["p0", "p2"], "count": [1, 3]}
    assert [field.name for field in back.own] == ["plot", "count"]


def test_regions_say_biome_and_ecoregion() -> None:
    table = regions([box(10, 50, 11, 51)], [4])
    frame = sample_points(points(*PAIR), table, Constraints(), RULE).table
    assert frame["biome"].tolist() == [4, 0] and frame["ecoregion_name"].tolist() == ["region 1", ""]
    assert set(frame["stratum"]) == {STRATUM}


def test_coordinates_that_lie_in_regions_only_when_exchanged_are_told() -> None:
    table = regions([box(5, 45, 15, 55)], [4])
    right = [(6.0 + step, 46.0 + step) for step in range(8)]
    wrong = [(lat, lon) for lon, lat in right]
    assert not sample_points(points(*right), table, Constraints(), RULE).notes
    assert "Only 0% of your points lie in a region, and 100% would with lon and lat exchanged" in " ".join(
        sample_points(points(*wrong), table, Constraints(), RULE).notes
    )
