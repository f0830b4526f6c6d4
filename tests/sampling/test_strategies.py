"""Weights of the strategies, rooms that limit them, discs round places, own points, and the picture."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pyproj import Geod

from pipeline.errors import Fatal
from pipeline.location import location_id, write_location_table
from pipeline.locations import Locations
from sampling.allocation import allocate, table
from sampling.authalic import areas_km2
from sampling.constraints import Constraints
from sampling.discs import discs, read_discs
from sampling.draw import draw
from sampling.footprints import any_overlap
from sampling.picture import write_picture
from sampling.sample import sample_of
from sampling.splits import CellSplits
from sampling.weights import COLUMN, ECOREGIONS, weigh
from tests.sampling.region_tables import strips

RULE = CellSplits((0.8, 0.1, 0.1), 0, 1.0)


def counts(strategy: str, n: int = 120) -> list[int]:
    regions = strips([1, 3, 2, 6], [1, 1, 2, 2])
    return [quota.count for quota in allocate(regions, n, weigh(regions, strategy)).quotas]


def test_each_strategy_shares_as_it_says() -> None:
    assert counts("biomes") == [15, 45, 15, 45]
    assert counts("biomes-equal") == [30, 30, 30, 30]
    assert counts("ecoregions") == [30, 30, 30, 30]
    assert counts("land") == [10, 30, 20, 60]


def test_columns_and_weights() -> None:
    regions = strips([1, 3, 2, 6], [1, 1, 2, 2])
    shares = weigh(regions, COLUMN, "BIOME_NUM", {"1": 1.0, "2": 3.0})
    assert [quota.count for quota in allocate(regions, 160, shares).quotas] == [10, 30, 30, 90]
    left_out = weigh(regions, COLUMN, "ECO_NAME", {f"region {k}": float(k > 1) for k in range(1, 5)})
    assert [quota.count for quota in allocate(regions, 90, left_out).quotas] == [0, 30, 30, 30]


@pytest.mark.parametrize(
    ("strategy", "column", "weights", "says"),
    [
        ("biome", "", {}, "did you mean 'biomes'"),
        (COLUMN, "BIOM", {}, "no column 'BIOM' to stratify by; they have ECO_NAME"),
        (COLUMN, "BIOME_NUM", {"1": 1.0}, "lacks BIOME_NUM = '2'"),
        (COLUMN, "BIOME_NUM", {"1": 1.0, "2": 1.0, "7": 1.0}, "unknown value of column BIOME_NUM '7'"),
        (COLUMN, "BIOME_NUM", {"1": -1.0, "2": 1.0}, "must be 0 or more"),
    ],
)
def test_weights_that_do_not_fit_are_refused(strategy: str, column: str, weights: dict[str, float], says: str) -> None:
    with pytest.raises(Fatal, match=says):
        weigh(strips([1, 1], [1, 2]), strategy, column, weights)


@given(st.lists(st.integers(0, 60), min_size=4, max_size=4), st.integers(1, 240), st.sampled_from(["biomes", "land"]))
def test_no_region_gets_more_than_its_room(room: list[int], n: int, strategy: str) -> None:
    regions = strips([1, 3, 2, 6], [1, 1, 2, 2])
    shares, most = weigh(regions, strategy), np.array(room)
    if most.sum() < n:
        with pytest.raises(Fatal, match=f"room for {most.sum()} footprints"):
            allocate(regions, n, shares, most)
        return
    result = np.array([quota.count for quota in allocate(regions, n, shares, most).quotas])
    assert result.sum() == n and np.all(result <= most)


@pytest.mark.parametrize("lonlat", [(10.0, 50.0), (179.9, 0.0), (0.0, 89.9), (40.0, -89.0)])
def test_places_round_a_point_are_within_its_radius(lonlat: tuple[float, float]) -> None:
    regions = discs(np.array([lonlat]), 300, "a table")
    assert regions.frame["area_km2"][0] == pytest.approx(np.pi * 300**2, rel=0.005)
    drawn = draw(regions, weigh(regions, ECOREGIONS), 200, 0, Constraints(), 1.0)
    *_, metres = Geod(ellps="WGS84").inv(*np.tile(lonlat, (len(drawn.lonlat), 1)).T, *drawn.lonlat.T)
    assert metres.max() <= 301_000 and np.mean(metres < 300_000 / np.sqrt(2)) == pytest.approx(0.5, abs=0.12)


def test_a_weight_of_0_may_name_a_value_that_no_region_has() -> None:
    table = strips([1, 1], [4, 6])
    table.frame["REALM"] = ["Nearctic", "Oceania"]
    given = {"Nearctic": 3.0, "Oceania": 1.0, "N/A": 0.0}
    assert weigh(table, COLUMN, "REALM", given).group_weight.tolist() == [3, 1]
    with pytest.raises(Fatal, match="unknown value of column REALM 'N/A'"):
        weigh(table, COLUMN, "REALM", given | {"N/A": 1.0})


def test_discs_from_a_table(tmp_path: Path) -> None:
    (tmp_path / "cities.csv").write_text("name,lon,lat\na,10,50\nb,30,-5\n")
    regions = read_discs(tmp_path / "cities.csv", 20)
    assert len(regions) == 2 and areas_km2(np.asarray(regions.frame.geometry.array)).min() > 1200
    with pytest.raises(Fatal, match="radius_km"):
        read_discs(tmp_path / "cities.csv", 0)


def test_the_table_is_written_and_read_as_locations(tmp_path: Path) -> None:
    regions = strips([1, 1], [4, 6])
    result = sample_of(regions, draw(regions, weigh(regions), 20, 0, Constraints(), 1.0), RULE)
    write_location_table(tmp_path / "l.parquet", result.table)
    back = Locations.read(tmp_path / "l.parquet")
    assert [item.lonlat for item in back] == list(zip(result.table["lon"], result.table["lat"], strict=True))
    assert back[0].id == location_id(*back[0].lonlat) and back[0].stratum == "eco-001"


def test_the_table_of_an_allocation_adds_up() -> None:
    lines = table(allocate(strips([1, 3], [1, 2]), 10)).splitlines()
    assert lines[-1].split() == ["10", "locations", "in", "2", "strata"]
    assert any("eco-002" in line and line.split()[0] == "5" for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("n", [30, 6000])
def test_the_picture_shows_dots_or_density(tmp_path: Path, n: int) -> None:
    regions = strips([60, 60, 100], [1, 2, 1])
    result = sample_of(regions, draw(regions, weigh(regions), n, 0, Constraints(), 1.0), RULE)
    assert not any_overlap(result.table[["lon", "lat"]].to_numpy(), 1280)
    for name in ("a.png", "b.png"):
        write_picture(tmp_path / name, result, regions)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    colours = np.unique(np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).reshape(-1, 3), axis=0)
    assert len(colours) > 200
