"""What is drawn fills exact quotas, never overlaps, and what a smaller sample chose a larger one keeps."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod
from shapely import box

from pipeline.errors import Fatal
from sampling.authalic import areas_km2
from sampling.constraints import BUFFER, EXCLUDED, OVERLAP, Constraints
from sampling.draw import Drawn, draw, sizes
from sampling.exclusion import Exclusion
from sampling.footprints import any_overlap
from sampling.regions import Regions, lookup, prepare_areas, read_region_file
from sampling.sample import sample_of
from sampling.splits import CellSplits
from sampling.weights import LAND, STRATEGIES, weigh
from tests.sampling.region_tables import REAL, draw_in, regions, strips

SIDE_M = 1280.0
RULE = CellSplits((0.8, 0.1, 0.1), 3, 1.0)
real = pytest.mark.skipif(not REAL.exists(), reason="the real ecoregions are not at ../shared/data/ecoregions")


def chosen(table: Regions, drawn: Drawn) -> dict[str, list[tuple[float, float]]]:
    """The places that fill the quotas, by stratum, in order."""
    result = {}
    for row, quota in enumerate(drawn.allocation.quotas):
        result[quota.stratum] = [tuple(place) for place in drawn.lonlat[drawn.row == row][: quota.count].tolist()]
    return result


@pytest.fixture(scope="module")
def earth() -> Regions:
    return read_region_file(REAL)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(20, 900), st.integers(0, 4000), st.sampled_from([30, 400]))
def test_asking_for_more_keeps_what_was_chosen(seed: int, few: int, more: int, tenths: int) -> None:
    """Crowded strata (0.3 degrees hold about 300 footprints) and roomy ones, side by side."""
    table = strips([tenths / 100, 2, 0.5, tenths / 50], [1, 1, 2, 2])
    constraints = Constraints(SIDE_M, splits=RULE, buffer_m=2000)
    small = draw(table, weigh(table), few, seed, constraints, 1.1)
    large = draw(table, weigh(table), few + more, seed, constraints, 1.1)
    before, after = chosen(table, small), chosen(table, large)
    for stratum, places in before.items():
        shared = min(len(places), len(after[stratum]))
        assert after[stratum][:shared] == places[:shared]
        assert len(places) - shared <= 1 or large.full.any(), "only rounding, or a full neighbour, takes from a stratum"
    assert small.allocation.total == few == sum(map(len, before.values()))
    assert large.allocation.total == few + more == sum(map(len, after.values()))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.floats(-180, 180), st.floats(-88, 88), st.floats(0.5, 3))
def test_no_two_footprints_overlap_anywhere(seed: int, west: float, south: float, size_deg: float) -> None:
    """Pairs counted one by one with the geodesic: squares of 1280 m apart by less than their side would overlap."""
    table = regions([box(west, south, west + size_deg, min(south + size_deg / 2, 90)), box(west, -89, west + 1, -88)])
    drawn = draw(table, weigh(table, LAND), 60, seed, Constraints(SIDE_M), 1.0)
    lonlat = drawn.lonlat
    first, second = np.triu_indices(len(lonlat), 1)
    *_, metres = Geod(ellps="WGS84").inv(*lonlat[first].T, *lonlat[second].T)
    assert metres.min() >= SIDE_M and any_overlap(lonlat, SIDE_M) == 0


def test_a_full_stratum_leaves_its_share_to_its_biome() -> None:
    """0.05 x 1 degrees hold some two hundred footprints, not 750."""
    table = strips([0.05, 3, 3], [1, 1, 2])
    drawn = draw(table, weigh(table, "biomes-equal"), 3000, 0, Constraints(SIDE_M), 1.2)
    counts = [quota.count for quota in drawn.allocation.quotas]
    assert sum(counts) == 3000 and counts[2] == 1500 and 100 < counts[0] < 250
    assert drawn.full.tolist() == [True, False, False] and drawn.refused[OVERLAP][0] > 0
    notes = sample_of(table, drawn, RULE).notes
    assert notes[-1] == "1 strata have no room for their share, others took it: region 1."


def test_no_room_at_all_is_refused() -> None:
    with pytest.raises(Fatal, match="room for [0-9]+ footprints .* not 50000"):
        draw(strips([1]), weigh(strips([1])), 50_000, 0, Constraints(SIDE_M), 1.0)
    with pytest.raises(Fatal, match="overdraw"):
        draw(strips([1]), weigh(strips([1])), 5, 0, Constraints(SIDE_M), 0.5)


def test_overlaps_may_be_allowed() -> None:
    table = strips([0.1])
    drawn = draw(table, weigh(table), 2000, 0, Constraints(SIDE_M, may_overlap=True), 1.0)
    assert drawn.allocation.total == 2000 and any_overlap(drawn.lonlat, SIDE_M) > 0


def test_exclusion_and_buffer_are_kept_and_quotas_stay_exact() -> None:
    table = strips([6, 6])
    evaluation = np.array([box(-168, 0.2, -167, 0.6), shapely.Point(-160, 0.5)])
    constraints = Constraints(SIDE_M, exclusion=Exclusion.around(evaluation, 3000), splits=RULE, buffer_m=8000)
    drawn = draw(table, weigh(table), 400, 5, constraints, 1.5)
    assert drawn.allocation.total == 400 and np.bincount(drawn.row).tolist() == [300, 300]
    assert drawn.refused[EXCLUDED].sum() > 20 and drawn.refused[BUFFER].sum() > 20
    assert not shapely.intersects_xy(evaluation[0].buffer(3000 / 111_400), *drawn.lonlat.T).any()


def test_locations_carry_their_region_and_split() -> None:
    table = strips([1, 1], [4, 6])
    result = sample_of(table, draw(table, weigh(table), 10, 0, Constraints(SIDE_M), 1.0), RULE)
    row = result.table[result.table["stratum"] == "eco-002"].iloc[0]
    assert (row["biome"], row["biome_name"], row["ecoregion"], row["realm"]) == (6, "biome 6", 2, "Nowhere")
    assert len(result.chosen()) == 10
    assert (result.table["split"] == RULE.of(result.table[["lon", "lat"]].to_numpy())).all()
    assert sum(result.to_json()["splits"].values()) == 10


def test_sizes_grow_for_ever() -> None:
    steps = list(sizes())
    assert steps[:4] == [1000, 10_000, 100_000, 120_000] and np.all(np.diff(steps) > 0)


def test_a_table_without_biomes_serves_where_none_are_needed() -> None:
    areas = prepare_areas(gpd.GeoDataFrame({"soil": ["clay", "sand"]}, geometry=[box(0, 0, 1, 1), box(2, 0, 4, 1)],
                                           crs=4326), "soils.gpkg", "soil")  # fmt: skip
    drawn = draw(areas, weigh(areas, "column", "soil", {"clay": 3, "sand": 1}), 400, 0, Constraints(SIDE_M), 1.0)
    assert [quota.count for quota in drawn.allocation.quotas] == [300, 100]


@real
@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name != "column"])
def test_every_strategy_on_the_real_ecoregions(earth: Regions, strategy: str) -> None:
    drawn = draw(earth, weigh(earth, strategy), 12_000, 1, Constraints(SIDE_M, splits=RULE, buffer_m=5000), 1.0)
    counts = np.array([quota.count for quota in drawn.allocation.quotas])
    assert counts.sum() == 12_000 and any_overlap(drawn.lonlat, SIDE_M) == 0
    assert np.all(np.bincount(drawn.row, minlength=len(counts)) >= counts)
    assert not drawn.allocation.empty_strata or all(drawn.full[counts == 0])
    rows = lookup(earth, drawn.lonlat)
    # A lookup may name the neighbour on a shared or overlapping border.
    assert np.mean(rows == drawn.row) > 0.999


@real
def test_a_column_of_the_real_ecoregions(earth: Regions) -> None:
    realms = sorted(set(earth.frame["REALM"]))
    weights = {realm: 1.0 for realm in realms} | {"Afrotropic": 5.0, "Antarctica": 0.0}
    drawn = draw(earth, weigh(earth, "column", "REALM", weights), 3000, 1, Constraints(SIDE_M), 1.0)
    places = {realm: 0 for realm in realms}
    for quota, realm in zip(drawn.allocation.quotas, earth.frame["REALM"], strict=True):
        places[realm] += quota.count
    share = 3000 / sum(weights.values())
    assert all(abs(places[realm] - weights[realm] * share) < 1 for realm in realms)


@real
def test_chosen_places_are_uniform_in_real_strata(earth: Regions) -> None:
    """Chi-square over pieces of each of the 60 largest ecoregions: in all of them, and none beyond one in 100,000."""
    drawn = draw(earth, weigh(earth, LAND), 60_000, 2, Constraints(SIDE_M), 1.0)
    statistics, freedom = [], []
    for row in np.argsort(-np.asarray(earth.frame["area_km2"]))[:60]:
        expected, result = _per_piece(earth.frame.geometry[row], drawn.lonlat[drawn.row == row])
        statistics.append(((result - expected) ** 2 / expected).sum())
        freedom.append(len(expected) - 1)
    spread = (np.array(statistics) - freedom) / np.sqrt(2 * np.array(freedom))
    assert abs(spread.mean()) < 4 / np.sqrt(60) and spread.max() < 6


def _per_piece(polygon: shapely.Geometry, lonlat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Expected and found counts in the pieces that a grid of 4 x 4 cuts a polygon into, those with five or more."""
    west, south, east, north = polygon.bounds
    x, y = np.linspace(west, east, 5), np.linspace(south, north, 5)
    pieces = np.array([polygon & box(x[i], y[j], x[i + 1], y[j + 1]) for i in range(4) for j in range(4)])
    share = areas_km2(pieces)
    lon = np.where(lonlat[:, 0] < west, lonlat[:, 0] + 360, lonlat[:, 0])
    result, *_ = np.histogram2d(lon, lonlat[:, 1], [x, y])
    expected = share / share.sum() * len(lonlat)
    enough = expected >= 5
    return np.append(expected[enough], expected[~enough].sum() + 1e-9), np.append(
        result.ravel()[enough], result.ravel()[~enough].sum()
    )


@real
def test_candidates_are_uniform_in_every_real_stratum(earth: Regions) -> None:
    """Chi-square over the quarters of each of the 846 strata: together, and none beyond one in 10 million."""
    together, freedom, worst = 0.0, 0, 0.0
    for polygon, stratum in zip(earth.frame.geometry, earth.frame["stratum"], strict=True):
        expected, result = _per_quarter(polygon, draw_in(polygon, 400, 11, stratum))
        statistic = float(((result - expected) ** 2 / expected).sum())
        together, freedom = together + statistic, freedom + len(expected) - 1
        worst = max(worst, statistic)
    assert abs(together - freedom) < 4 * np.sqrt(2 * freedom)
    assert worst < 36


def _per_quarter(polygon: shapely.Geometry, lonlat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Expected and found counts in the four quarters of a polygon's bounds, those with five or more."""
    west, south, east, north = polygon.bounds
    x, y = np.linspace(west, east, 3), np.linspace(south, north, 3)
    boxes = [(x[i], y[j], x[i + 1], y[j + 1]) for i in range(2) for j in range(2)]
    share = areas_km2(np.array([shapely.intersection(polygon, box(*bounds)) for bounds in boxes]))
    lon = np.where(lonlat[:, 0] < west - 1e-6, lonlat[:, 0] + 360, lonlat[:, 0])
    result = np.array([(((lon > x[1]) == i) & ((lonlat[:, 1] > y[1]) == j)).sum() for i in range(2) for j in range(2)])
    expected = share / share.sum() * len(lonlat)
    enough = expected >= 5
    rest = [] if enough.all() else [expected[~enough].sum() + 1e-3]
    return np.append(expected[enough], rest), np.append(result[enough], [result[~enough].sum()] if rest else [])
