"""Neighbours are found wherever on Earth, squares that could touch are told from those that cannot."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod
from shapely import Polygon, area, intersection, polygons

from pipeline.grid import Grid, to_crs, to_lonlat, utm_crs
from pipeline.nearest_pair import smallest_distance_m
from pipeline.radius_index import RadiusIndex, chord_m, east_north_m, pairs_within
from sampling.footprints import OccupancyIndex, any_overlap, first_come, overlapping

GEOD = Geod(ellps="WGS84")
CORNERS = [(0.0, 0.0), (179.99, -17.0), (0.0, 89.9), (33.0, -89.99), (8.0, 78.0), (-75.0, -79.9), (3.0, 60.0)]


def cloud(centre: tuple[float, float], spread_deg: float, count: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    wide = spread_deg / max(np.cos(np.radians(centre[1])), 0.01)
    lon = centre[0] + generator.uniform(-wide, wide, count)
    lat = np.clip(centre[1] + generator.uniform(-spread_deg, spread_deg, count), -90, 90)
    return np.column_stack([(lon + 180) % 360 - 180, lat])


@pytest.mark.parametrize("centre", CORNERS)
@pytest.mark.parametrize("reach_m", [500.0, 20_000.0])
def test_no_near_pair_is_missed(centre: tuple[float, float], reach_m: float) -> None:
    lonlat = cloud(centre, 0.3, 300, 0)
    first, second = np.triu_indices(len(lonlat), 1)
    *_, metres = GEOD.inv(*lonlat[first].T, *lonlat[second].T)
    near = set(zip(first[metres <= reach_m].tolist(), second[metres <= reach_m].tolist(), strict=True))
    result = list(zip(*(pair.tolist() for pair in pairs_within(lonlat, reach_m)), strict=True))
    assert near <= set(result) and len(result) == len(set(result)) and near


def test_an_index_that_grew_answers_as_one_made_at_once() -> None:
    lonlat = cloud((10, 10), 0.5, 400, 1)
    grown, whole = RadiusIndex(5000), RadiusIndex(5000)
    for start in range(0, 400, 70):
        part = np.arange(start, min(start + 70, 400))
        grown.add(lonlat[part], part)
    whole.add(lonlat, np.arange(400))
    pairs = [sorted(zip(*(item.tolist() for item in index.near(lonlat[:50])), strict=True)) for index in (grown, whole)]
    assert pairs[0] == pairs[1] and len(grown) == 400


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(CORNERS), st.integers(0, 10**6), st.floats(0.01, 40))
def test_the_smallest_distance_is_the_smallest(centre: tuple[float, float], seed: int, spread_deg: float) -> None:
    ours, theirs = cloud(centre, spread_deg, 40, seed), cloud(centre, spread_deg, 30, seed + 1)
    *_, metres = GEOD.inv(*np.repeat(ours, 30, 0).T, *np.tile(theirs, (40, 1)).T)
    assert smallest_distance_m(ours, theirs) == pytest.approx(metres.min())


def test_the_smallest_distance_of_far_and_absent_points() -> None:
    poles = np.array([[0.0, 90.0]]), np.array([[0.0, -90.0]])
    assert smallest_distance_m(*poles) == pytest.approx(20_003_931, abs=2)
    assert smallest_distance_m(poles[0], np.empty((0, 2))) == float("inf")


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 60), st.lists(st.tuples(st.integers(0, 59), st.integers(0, 59)), max_size=300))
def test_first_come_is_going_through_one_by_one(count: int, pairs: list[tuple[int, int]]) -> None:
    clashes = {(min(pair), max(pair)) for pair in pairs if pair[0] != pair[1] and max(pair) < count}
    stays: list[int] = []
    for item in range(count):
        if not any((other, item) in clashes for other in stays):
            stays.append(item)
    earlier, later = (np.array([pair[k] for pair in sorted(clashes)], dtype=np.int64) for k in (0, 1))
    assert np.flatnonzero(first_come(count, earlier, later)).tolist() == stays


@settings(max_examples=150, deadline=None)
@given(
    st.floats(-180, 180), st.floats(-86, 86), st.floats(-1600, 1600), st.floats(-1600, 1600), st.integers(-1, 1),
    st.integers(-1, 1),
)  # fmt: skip
def test_squares_said_to_be_clear_are_clear(
    lon: float, lat: float, east_m: float, north_m: float, turn: int, other_turn: int
) -> None:
    """Outlines of real grids, each in its own or a neighbouring zone, intersected in the plane of the first."""
    other_lon, other_lat, _ = GEOD.fwd(lon, lat, np.degrees(np.arctan2(east_m, north_m)), np.hypot(east_m, north_m))
    here, there = np.array([[lon, lat]]), np.array([[other_lon, other_lat]])
    if overlapping(here, there, 1280.0)[0]:
        return
    crs, other_crs = _neighbour((lon, lat), turn), _neighbour((other_lon, other_lat), other_turn)
    ours, theirs = Grid.around((lon, lat), crs), Grid.around((other_lon, other_lat), other_crs)
    seen = to_crs(crs).transform(*to_lonlat(other_crs).transform(*np.array(_corners(theirs)).T))
    assert Polygon(_corners(ours)).intersection(Polygon(np.column_stack(seen))).area < 1.0


def _neighbour(lonlat: tuple[float, float], step: int) -> str:
    """The place's own zone, or the one beside it where the place is within a degree of it, as scenes may be."""
    crs = utm_crs(lonlat)
    beside = utm_crs(((lonlat[0] + step + 180) % 360 - 180, lonlat[1]))
    return beside if crs[:8] == beside[:8] else crs


def _corners(grid: Grid) -> list[tuple[float, float]]:
    left, bottom, right, top = grid.bounds_xy
    return [(left, bottom), (right, bottom), (right, top), (left, top)]


SIDE_M = 1280.0
BORDERS = [
    (12.0, -60.0, 32732, 32733), (12.0, -78.5, 32732, 32733), (-30.0, 50.0, 32625, 32626),
    (-30.0, 70.0, 32625, 32626), (-30.0, 82.0, 32625, 32626), (-30.0, 82.9, 32625, 32626),
    (9.0, 75.0, 32631, 32633), (9.0, 82.0, 32631, 32633), (3.0, 62.0, 32631, 32632),
]  # fmt: skip


@pytest.mark.parametrize(("border_deg", "lat", "west", "east"), BORDERS)
@pytest.mark.parametrize("side_m", [SIDE_M, 4480.0])
def test_squares_on_either_side_of_a_zones_border_are_clear_wherever_scenes_reach(
    border_deg: float, lat: float, west: int, east: int, side_m: float
) -> None:
    """Each in the zone of any scene that may hold it: one of 110 km that just touches its zone reaches far beyond."""
    generator = np.random.default_rng(0)
    count, reach_deg = 4000, 109.0 / (111.7 * np.cos(np.radians(lat)))
    beyond_deg = generator.uniform(-reach_deg, reach_deg, count)
    lonlat = np.column_stack([border_deg + beyond_deg, np.full(count, lat)])
    # Close to what is just clear, in every direction.
    bearing, metres = generator.uniform(0, 360, count), side_m * generator.uniform(0.98, 1.6, count)
    other_lon, other_lat, _ = GEOD.fwd(*lonlat.T, bearing, metres)
    others = np.column_stack([other_lon, other_lat])
    clear = ~overlapping(lonlat, others, side_m)
    assert 0.2 < clear.mean() < 0.95, "both kinds are tried"
    for zone, other_zone in ((west, east), (east, west), (west, west)):
        ours, theirs = _squares(lonlat, zone, zone, side_m), _squares(others, other_zone, zone, side_m)
        shared_m2 = area(intersection(ours, theirs))
        assert shared_m2[clear].max() < 1.0, f"{shared_m2[clear].max() / side_m**2:.2%} of a footprint"
    assert shared_m2[~clear].max() > 1000


def _squares(lonlat: np.ndarray, epsg: int, plane_epsg: int, side_m: float) -> np.ndarray:
    """Snapped squares (n,) of a zone around points (n, 2), in the plane of another zone."""
    xy = np.column_stack(to_crs(f"EPSG:{epsg}").transform(*lonlat.T))
    corners = np.round((xy - side_m / 2) / 10)[:, None] * 10 + np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * side_m
    degrees = to_lonlat(f"EPSG:{epsg}").transform(*corners.reshape(-1, 2).T)
    return polygons(np.column_stack(to_crs(f"EPSG:{plane_epsg}").transform(*degrees)).reshape(-1, 4, 2))


def test_squares_that_lie_on_each_other_are_told() -> None:
    places = np.array([[10.0, 50.0], [10.0, 50.01], [10.0, 50.02], [10.0, 50.03], [-170.0, 0.0]])
    assert any_overlap(places, 1280.0) == 3
    occupancy = OccupancyIndex(1280.0)
    assert occupancy.claim(places).tolist() == [True, False, True, False, True]
    assert occupancy.claim(places).tolist() == [False] * 5
    assert occupancy.claim(places + [0, 0.06]).tolist() == [True, False, True, False, True]


def test_distances_in_metres() -> None:
    here, there = np.array([[179.999, 40.0]]), np.array([[-179.999, 40.001]])
    *_, metres = GEOD.inv(*here.T, *there.T)
    assert np.linalg.norm(east_north_m(here, there)) == pytest.approx(metres[0], rel=1e-6)
    assert chord_m(here, there)[0] == pytest.approx(metres[0], rel=1e-6)
