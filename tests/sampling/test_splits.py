"""Cells have one area, neighbours share a split, shares come out as asked, and only the place decides."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import box

from pipeline.errors import Fatal
from pipeline.nearest_pair import smallest_distance_m
from sampling.splits import BandSplits, CellSplits, SplitRule, cells, hashed
from tests.sampling.region_tables import draw_in

GLOBE = draw_in(box(-180, -90, 180, 90), 100_000, 0, "globe")
FRACTIONS = (0.8, 0.15, 0.05)


def test_cells_have_equal_area() -> None:
    numbers = cells(GLOBE, 15.0)
    counts = np.bincount(numbers)
    # Poisson: the variance of equally likely cells equals their mean.
    assert 0.7 < counts.var() / counts.mean() < 1.4
    assert numbers.min() == 0 and 180 < len(counts) < 200


def test_shares_come_out() -> None:
    result = CellSplits(FRACTIONS, 1, 2.0).of(GLOBE)
    shares = [np.mean(result == name) for name in ("train", "val", "test")]
    assert np.allclose(shares, FRACTIONS, atol=0.015)


@pytest.mark.parametrize("fractions", [(0.9, 0.05, 0.05), (0.6, 0.3, 0.1), (0.5, 0.5, 0.0), (1.0, 0.0, 0.0)])
@pytest.mark.parametrize("gap_m", [3_415.0, 12_000.0])
def test_shares_come_out_of_what_the_buffer_leaves(fractions: tuple[float, float, float], gap_m: float) -> None:
    """The mean of some seeds: one alone is off by the draw of its cells."""
    left = []
    for seed in range(6):
        rule = CellSplits(fractions, seed, 1.0, gap_m)
        stay = GLOBE[~rule.in_buffer(GLOBE, gap_m)]
        left.append([np.mean(rule.of(stay) == name) for name in ("train", "val", "test")])
    assert np.mean(left, axis=0) == pytest.approx(fractions, abs=0.003)


def test_without_a_buffer_cells_are_those_they_always_were() -> None:
    edges = np.cumsum(FRACTIONS)[:-1]
    plain = np.array(["train", "val", "test"])[np.searchsorted(edges, hashed(cells(GLOBE, 1.0), 1), side="right")]
    assert np.array_equal(CellSplits(FRACTIONS, 1, 1.0).of(GLOBE), plain)
    moved = (CellSplits(FRACTIONS, 1, 1.0, 3_415.0).of(GLOBE) != plain).mean()
    assert 0 < moved < 0.03, "a buffer moves as few cells as it must"


def test_a_cell_is_never_cut() -> None:
    result = CellSplits(FRACTIONS, 1, 5.0).of(GLOBE)
    numbers = cells(GLOBE, 5.0)
    assert len(set(zip(numbers.tolist(), result.tolist(), strict=True))) == len(set(numbers.tolist()))


def test_only_place_and_seed_decide() -> None:
    result = CellSplits(FRACTIONS, 1, 1.0).of(GLOBE)
    assert np.array_equal(result[500:600], CellSplits(FRACTIONS, 1, 1.0).of(GLOBE[500:600]))
    assert not np.array_equal(result, CellSplits(FRACTIONS, 2, 1.0).of(GLOBE))


def test_all_train_and_the_edges_of_the_map() -> None:
    corners = np.array([[-180, -90], [180, 90], [180, -90], [-180, 90], [0, 0]], dtype=float)
    assert (CellSplits((1.0, 0.0, 0.0), 0, 1.0).of(corners) == "train").all()
    assert (CellSplits((0.0, 0.0, 1.0), 0, 1.0).of(corners) == "test").all()
    assert cells(np.array([[180.0, 10.0]]), 1.0) == cells(np.array([[-180.0, 10.0]]), 1.0)


@pytest.mark.parametrize(("fractions", "cell_deg"), [((0.5, 0.5, 0.5), 1), ((1.2, -0.2, 0), 1), ((1, 0, 0), 0)])
def test_nonsense_is_refused(fractions: tuple[float, float, float], cell_deg: float) -> None:
    with pytest.raises(Fatal):
        CellSplits(fractions, 0, cell_deg)


def kept(rule: SplitRule, lonlat: np.ndarray, buffer_m: float) -> np.ndarray:
    """Points that keep half of a buffer to other splits."""
    return lonlat[~rule.in_buffer(lonlat, buffer_m / 2)]


RULES = st.one_of(
    st.builds(CellSplits, st.just((0.4, 0.3, 0.3)), st.integers(0, 99), st.floats(0.6, 20)),
    st.builds(
        BandSplits, st.just((0.6, 0.2, 0.2)),
        st.sampled_from([(-180.0, -90.0, 180.0, 90.0), (170.0, -20.0, -160.0, 5.0), (-10.0, 30.0, 30.0, 70.0)]),
        st.integers(5, 60), st.floats(0, 6.28),
    ),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(RULES, st.sampled_from([(0.0, 0.0), (179.9, -12.0), (20.0, 88.9), (5.0, 61.0), (-70.0, -78.0)]),
       st.floats(100, 12_000), st.integers(0, 999))  # fmt: skip
def test_places_of_two_splits_are_a_buffer_apart(
    rule: SplitRule, centre: tuple[float, float], buffer_m: float, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    wide = 2.5 / max(np.cos(np.radians(centre[1])), 0.02)
    lon = (centre[0] + generator.uniform(-wide, wide, 4000) + 180) % 360 - 180
    lat = np.clip(centre[1] + generator.uniform(-2.5, 2.5, 4000), -90, 90)
    lonlat = kept(rule, np.column_stack([lon, lat]), buffer_m)
    names = rule.of(lonlat)
    for item, other in (("train", "val"), ("train", "test"), ("val", "test")):
        assert smallest_distance_m(lonlat[names == item], lonlat[names == other]) >= buffer_m


def test_most_places_are_outside_the_buffer_and_only_near_borders_inside() -> None:
    rule = CellSplits(FRACTIONS, 1, 1.0)
    inside = rule.in_buffer(GLOBE, 3000)
    assert 0.005 < inside.mean() < 0.06
    one_split = CellSplits((1.0, 0.0, 0.0), 1, 1.0)
    assert one_split.in_buffer(GLOBE, 3000).mean() < 1e-3


def test_bands_are_those_that_were_published() -> None:
    """60 bands, in turns of three for train, one for test, one for val; shares by area of the map."""
    rule = BandSplits((0.6, 0.2, 0.2), (0.0, 0.0, 60.0, 30.0), 60, 0.0)
    middles = np.column_stack([np.arange(60) + 0.5, np.full(60, 15.0)])
    assert rule.of(middles).tolist() == ["train", "train", "train", "test", "val"] * 12
    turned = BandSplits((0.6, 0.2, 0.2), (0.0, 0.0, 60.0, 30.0), 60, 0.9)
    generator = np.random.default_rng(0)
    names = turned.of(generator.uniform([0, 0], [60, 30], (50_000, 2)))
    assert np.mean(names == "train") == pytest.approx(0.6, abs=0.02)
    # A diagonal from corner to corner crosses all bands.
    assert len(set(turned._along(np.array([[0.0, 0.0], [60.0, 30.0]])).round(6))) == 2


@pytest.mark.parametrize("angle_rad", [0.0, 0.9, 1.5, 2.5, 4.0])
def test_the_extent_spans_all_bands(angle_rad: float) -> None:
    rule = BandSplits((0.6, 0.2, 0.2), (170.0, -10.0, -170.0, 10.0), 10, angle_rad)
    corners = np.array([[170.0, -10], [170, 10], [-170, -10], [-170, 10]])
    along = rule._along(corners)
    assert along.min() == pytest.approx(0) and along.max() == pytest.approx(10)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: BandSplits((1 / 3 + 0.001, 1 / 3, 1 / 3 - 0.001)), "whole number of bands"),
        (lambda: BandSplits((0.6, 0.2, 0.2), (5.0, 10.0, 5.0, 10.0)), "extent"),
        (lambda: CellSplits(FRACTIONS, 0, 0.1).in_buffer(GLOBE, 5000), "no room for a buffer"),
    ],
)
def test_what_cannot_be_split_is_refused(make: Callable[[], object], says: str) -> None:
    with pytest.raises(Fatal, match=says):
        make()
