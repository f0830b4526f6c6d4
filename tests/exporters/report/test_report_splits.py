"""The report's distances between splits, overlaps and shares of strata, against counting by hand."""

import numpy as np
import pytest
from pyproj import Geod

from exporters.report.splits import centres_of, distance_text, gaps, overlapping_pairs, stratum_shares
from pipeline.chip import Chip
from pipeline.manifest import Manifest
from tests.exporters.report_corpus import make_chip

PLACES = [(10.0, 50.0), (10.5, 50.2), (179.95, -17.0), (-179.95, -17.0), (-60.0, 2.0), (-60.05, 2.0)]


def manifest(places: list[tuple[float, float]]) -> Manifest:
    chips: list[Chip] = [make_chip(number, lonlat, 128, 1 + number % 2) for number, lonlat in enumerate(places)]
    return Manifest.freeze(chips, 0)


def test_the_smallest_distance_between_two_splits() -> None:
    """Chips 0 and 5 are val; the nearest pair is 4 and 5, 0.05 degrees apart."""
    chips = manifest(PLACES)
    (gap,) = gaps(chips, centres_of(chips))
    *_, metres = Geod(ellps="WGS84").inv(*PLACES[4], *PLACES[5])
    assert (gap.first, gap.second) == ("train", "val")
    assert gap.centres_m == pytest.approx(metres, abs=15)
    assert gap.edges_m == pytest.approx(gap.centres_m - 1280 * np.sqrt(2), rel=0.01)


def test_overlaps_are_counted_across_the_antimeridian_too() -> None:
    near = manifest([*PLACES, (10.005, 50.005), (179.999, 5.0), (-179.999, 5.0)])
    for chips, pairs in ((manifest(PLACES), 0), (near, 2)):
        assert overlapping_pairs(chips, centres_of(chips)) == pairs


def test_shares_of_strata() -> None:
    result = {item.name: (item.count, item.shares) for item in stratum_shares(manifest(PLACES))}
    assert result["Forest & steppe of region 1"] == (3, (2 / 3, 1 / 3, 0.0))
    assert sum(count for count, _ in result.values()) == len(PLACES)


def test_distances_as_text() -> None:
    assert [distance_text(metres) for metres in (12.4, 5234.0, 1_234_567.0)] == ["12 m", "5.23 km", "1,235 km"]
