"""The table of locations: what `geocorpus sample` writes, and what people make of it with other tools."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline.errors import Fatal
from pipeline.location import Location, location_id, write_location_table
from pipeline.locations import NAMES, Locations


def places(count: int) -> list[Location]:
    lonlat = [(10.0 + number / 7, -5.0 + number / 3) for number in range(count)]
    return [
        Location(location_id(*each), *each, f"eco-{number % 3}", number % 2, "Tundra", 664, "Ægean ö", "")
        for number, each in enumerate(lonlat)
    ]


def sampled(path: Path, count: int) -> list[Location]:
    """As `sample` writes them: texts categorical, and a split."""
    result = places(count)
    table = pd.DataFrame([asdict(each) for each in result]).drop(columns="id")
    table["split"] = ["val" if number % 5 else "test" for number in range(count)]
    write_location_table(path, table.astype({"stratum": "category", "split": "category"}))
    return result


def test_every_row_is_a_location_with_its_split(tmp_path: Path) -> None:
    result = sampled(tmp_path / "l.parquet", 40)
    table = Locations.read(tmp_path / "l.parquet")
    assert [table[row] for row in range(len(table))] == result
    assert table.table.column("split").to_pylist()[:2] == ["test", "val"]
    np.testing.assert_array_equal(table.lonlat, [each.lonlat for each in result])
    some = table.take(np.array([7, 3]))
    assert [some[0], some[1]] == [result[7], result[3]]


def test_texts_are_stored_once(tmp_path: Path) -> None:
    sampled(tmp_path / "l.parquet", 40)
    stratum = Locations.read(tmp_path / "l.parquet").table.column("stratum")
    assert pa.types.is_dictionary(stratum.type) and stratum.num_chunks == 1
    assert sorted(stratum.chunk(0).dictionary.to_pylist()) == ["eco-0", "eco-1", "eco-2"]


def test_a_table_that_another_tool_wrote_is_read_as_well(tmp_path: Path) -> None:
    """GeoPandas after some work on it: other orders, widths and kinds of text, a column more, several row groups."""
    result = sampled(tmp_path / "l.parquet", 40)
    frame = gpd.read_parquet(tmp_path / "l.parquet").sort_values("lon", ascending=False)
    frame = frame.astype({"biome": "int16", "realm": "category", "stratum": "object", "ecoregion": "float64"})
    frame["note"] = "mine"
    frame[frame.columns[::-1]].to_parquet(tmp_path / "mine.parquet", row_group_size=7)
    table = Locations.read(tmp_path / "mine.parquet")
    assert [table[row] for row in range(len(table))] == result[::-1]


def test_a_table_without_splits_says_so_and_takes_them(tmp_path: Path) -> None:
    sampled(tmp_path / "l.parquet", 4)
    gpd.read_parquet(tmp_path / "l.parquet").drop(columns="split").to_parquet(tmp_path / "bare.parquet")
    bare = Locations.read(tmp_path / "bare.parquet")
    assert not bare.have_split and bare.table.column_names == list(NAMES)
    full = bare.with_split(np.array(["test", "val", "val", "val"]))
    assert full.have_split and full.table == Locations.read(tmp_path / "l.parquet").table


def test_what_is_no_table_of_locations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match=r"run `geocorpus sample` first"):
        Locations.read(tmp_path / "none.parquet")
    sampled(tmp_path / "l.parquet", 9)
    gpd.read_parquet(tmp_path / "l.parquet").drop(columns=["lat", "realm"]).to_parquet(tmp_path / "less.parquet")
    with pytest.raises(Fatal, match=r"less.parquet lacks the columns lat, realm"):
        Locations.read(tmp_path / "less.parquet")
    (tmp_path / "half.parquet").write_bytes((tmp_path / "l.parquet").read_bytes()[:-99])
    with pytest.raises(Fatal, match=r"half.parquet cannot be read as GeoParquet .* delete it"):
        Locations.read(tmp_path / "half.parquet")
    broken = gpd.read_parquet(tmp_path / "l.parquet").astype({"biome": "float64"})
    broken.loc[3, "biome"] = 1.5
    broken.to_parquet(tmp_path / "broken.parquet")
    with pytest.raises(Fatal, match=r"broken.parquet cannot be read as GeoParquet .* delete it"):
        Locations.read(tmp_path / "broken.parquet")


def test_no_locations_are_a_table_as_well(tmp_path: Path) -> None:
    sampled(tmp_path / "l.parquet", 3)
    gpd.read_parquet(tmp_path / "l.parquet").iloc[:0].to_parquet(tmp_path / "empty.parquet")
    assert len(Locations.read(tmp_path / "empty.parquet")) == 0 == len(Locations.of([]))
