"""Bands of each area are those of a corpus of that area alone, and areas keep the buffer between them as well."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import Fatal
from pipeline.nearest_pair import smallest_distance_m
from sampling.area_bands import AreaBandSplits
from sampling.splits import BandSplits

SHARES = (0.6, 0.2, 0.2)
WEST, EAST = (10.0, 40.0, 12.0, 42.0), (12.05, 40.0, 14.0, 41.0)
PACIFIC = (179.0, -2.0, -179.0, 0.0)
RULE = AreaBandSplits(
    (BandSplits(SHARES, WEST, 10, 0.9), BandSplits(SHARES, EAST, 5, 0.2), BandSplits(SHARES, PACIFIC))
)


def places(extent: tuple[float, float, float, float], count: int, seed: int = 0) -> np.ndarray:
    west, south, east, north = extent
    width = (east - west) % 360
    generator = np.random.default_rng(seed)
    lon = (west + generator.uniform(0, width, count) + 180) % 360 - 180
    return np.column_stack([lon, generator.uniform(south, north, count)])


def test_each_area_has_the_bands_of_its_own_rule() -> None:
    for bands in RULE.areas:
        lonlat = places(bands.extent, 2000)
        assert np.array_equal(RULE.of(lonlat), bands.of(lonlat))
        assert set(RULE.of(lonlat)) == {"train", "val", "test"}
    mixed = np.concatenate([places(bands.extent, 50) for bands in RULE.areas])[::-1]
    assert np.array_equal(RULE.of(mixed)[::-1], RULE.of(mixed[::-1]))


def test_where_extents_overlap_the_first_area_decides() -> None:
    both = AreaBandSplits((BandSplits((1.0, 0.0, 0.0), WEST), BandSplits((0.0, 0.0, 1.0), (11.0, 40.0, 13.0, 42.0))))
    assert both.of(np.array([[11.5, 41.0], [12.5, 41.0]])).tolist() == ["train", "test"]


@settings(max_examples=40, deadline=None)
@given(st.floats(100, 12_000), st.integers(0, 999))
def test_places_of_two_splits_are_a_buffer_apart_across_areas_too(buffer_m: float, seed: int) -> None:
    """The first two extents are 4 km apart: less than some of these buffers."""
    near = [(11.7, 40.0, 12.0, 41.0), (12.05, 40.0, 12.3, 41.0)]
    lonlat = np.concatenate([places(extent, 3000, seed) for extent in near])
    lonlat = lonlat[~RULE.in_buffer(lonlat, buffer_m / 2)]
    names = RULE.of(lonlat)
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        assert smallest_distance_m(lonlat[names == one], lonlat[names == other]) >= buffer_m


def test_a_place_in_no_area_is_named() -> None:
    with pytest.raises(Fatal, match=r"the place at 20.0000, 5.0000 is in no extent of split.areas; widen one, or add"):
        RULE.of(np.array([[11.0, 41.0], [20.0, 5.0]]))
