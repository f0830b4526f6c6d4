"""Adding to places that are there: they stay, count towards the quotas, and nothing comes too near to them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import Fatal
from pipeline.nearest_pair import smallest_distance_m
from sampling.allocation import _bounded, allocate, at_least_one_each, largest_remainder
from sampling.constraints import BUFFER, OVERLAP, Constraints
from sampling.draw import draw
from sampling.footprints import any_overlap
from sampling.regions import Regions, prepare_areas
from sampling.settled import Settled
from sampling.splits import CellSplits
from sampling.tiles import draw_tiles
from sampling.weights import BIOMES, LAND, weigh
from tests.sampling.region_tables import strips, table
from tests.sampling.test_draw import RULE, SIDE_M, chosen


def settled_in(
    places: dict[str, list[tuple[float, float]]], useless: list[tuple[float, float]] | None = None
) -> Settled:
    """Places by stratum, as a corpus has them, each in the split of the rule."""
    lonlat = np.array([place for several in places.values() for place in several]).reshape(-1, 2)
    stratum = np.array([name for name, several in places.items() for _ in several], dtype=object)
    return Settled(lonlat, RULE.of(lonlat), stratum, np.array(useless or []).reshape(-1, 2))


@settings(max_examples=200, deadline=None)
@given(st.data(), st.integers(1, 8), st.sampled_from([largest_remainder, at_least_one_each]))
def test_bounds_hold_whatever_they_are(data: st.DataObject, count: int, divide: object) -> None:
    numbers = st.lists(st.integers(0, 30), min_size=count, max_size=count)
    low, more = (np.array(data.draw(numbers)) for _ in range(2))
    weights = np.array(data.draw(st.lists(st.floats(0.01, 100), min_size=count, max_size=count)))
    n = data.draw(st.integers(int(low.sum()), int((low + more).sum())))
    counts = _bounded(divide, weights, n, low, low + more)
    assert counts.sum() == n and (counts >= low).all() and (counts <= low + more).all()
    without_floor = _bounded(divide, weights, n, np.zeros(count, np.int64), np.full(count, n))
    assert without_floor.tolist() == divide(weights, n).tolist()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(20, 500), st.integers(1, 2000), st.sampled_from([30, 400]))
def test_what_is_there_stays_and_the_rest_fills_the_quotas(seed: int, few: int, more: int, tenths: int) -> None:
    regions = strips([tenths / 100, 2, 0.5, tenths / 50], [1, 1, 2, 2])
    terms = Constraints(SIDE_M, splits=RULE, buffer_m=2000)
    first = draw(regions, weigh(regions), few, seed, terms, 1.5)
    useless = [tuple(place) for place in first.lonlat[::7].tolist()]  # every seventh had no scene
    served = {
        stratum: [place for place in places if place not in useless]
        for stratum, places in chosen(regions, first).items()
    }
    old = settled_in(served, useless)
    drawn = draw(
        regions, weigh(regions), few + more, seed, Constraints(SIDE_M, splits=RULE, buffer_m=2000, settled=old), 1.2
    )
    new = chosen(regions, drawn)
    assert sum(map(len, new.values())) == few + more - len(old) == drawn.allocation.total
    assert not old.knows(drawn.lonlat).any()
    assert any_overlap(np.concatenate([old.lonlat, drawn.lonlat]), SIDE_M) == 0
    if not drawn.full.any():
        held = np.array([len(places) for places in served.values()])
        whole = allocate(regions, few + more, weigh(regions), least=held)
        assert [len(new[quota.stratum]) + held[row] for row, quota in enumerate(whole.quotas)] == [
            quota.count for quota in whole.quotas
        ]


def test_without_settled_places_nothing_is_another() -> None:
    regions = strips([1, 2], [1, 2])
    plain = draw(regions, weigh(regions), 90, 4, Constraints(SIDE_M), 1.2)
    again = draw(regions, weigh(regions), 90, 4, Constraints(SIDE_M, settled=Settled()), 1.2)
    assert plain.lonlat.tolist() == again.lonlat.tolist() and plain.allocation == again.allocation


def test_a_roomy_stratum_goes_on_where_it_stopped() -> None:
    """The same places as if more had been asked for at first."""
    regions = strips([30, 30], [1, 2])
    small, large = (chosen(regions, draw(regions, weigh(regions), n, 4, Constraints(SIDE_M), 1.0)) for n in (40, 100))
    drawn = draw(regions, weigh(regions), 100, 4, Constraints(SIDE_M, settled=settled_in(small)), 1.0)
    assert {name: small[name] + places for name, places in chosen(regions, drawn).items()} == large


def test_many_settled_places_do_not_make_a_stratum_full() -> None:
    regions = strips([30, 30], [1, 2])
    many = chosen(regions, draw(regions, weigh(regions), 4000, 4, Constraints(SIDE_M), 1.0))
    drawn = draw(regions, weigh(regions), 4010, 4, Constraints(SIDE_M, settled=settled_in(many)), 1.0)
    assert not drawn.full.any() and drawn.allocation.total == 10


def test_what_was_refused_long_ago_does_not_make_a_crowded_stratum_full() -> None:
    """Of the first thousands of candidates, those that are not settled were refused then."""
    regions = strips([3, 3], [1, 2])
    many = chosen(regions, draw(regions, weigh(regions), 10_000, 4, Constraints(SIDE_M), 1.0))
    drawn = draw(regions, weigh(regions), 11_000, 4, Constraints(SIDE_M, settled=settled_in(many)), 1.0)
    assert not drawn.full.any() and drawn.allocation.total == 1000


def test_another_strategy_counts_what_is_there() -> None:
    """By area 30 to 1; what the equal shares of biomes gave the small one is more than its share of any total."""
    regions = strips([30, 1], [1, 2])
    equal = chosen(regions, draw(regions, weigh(regions, BIOMES), 60, 0, Constraints(SIDE_M), 1.0))
    assert [len(places) for places in equal.values()] == [30, 30]
    terms = Constraints(SIDE_M, settled=settled_in(equal))
    drawn = draw(regions, weigh(regions, LAND), 200, 0, terms, 1.0)
    assert [quota.count for quota in drawn.allocation.quotas] == [140, 0]


def test_places_of_no_region_count_towards_the_total() -> None:
    regions = strips([5], [1])
    far = settled_in({"point-a": [(100.0, 50.0), (101.0, 50.0)], "point-b": [(-169.0, 0.5)]})
    assert far.per_region(regions).tolist() == [1], "the last one lies in the region, whatever it is called"
    drawn = draw(regions, weigh(regions, LAND), 10, 0, Constraints(SIDE_M, settled=far), 1.0)
    assert drawn.allocation.total == 7


def test_a_place_of_another_split_keeps_its_distance() -> None:
    """An owner's split is not that of the cell: what is drawn beside it would leak."""
    regions = strips([0.5], [1])
    rule = CellSplits((1.0, 0.0, 0.0), 0, 1.0)
    old = Settled(np.array([[-169.75, 0.5]]), np.array(["test"]), np.array(["mine"], dtype=object))
    terms = Constraints(SIDE_M, splits=rule, buffer_m=5000, settled=old)
    drawn = draw(regions, weigh(regions, LAND), 301, 0, terms, 1.0)
    assert drawn.allocation.total == 300 and drawn.refused[BUFFER].sum() > 0
    assert smallest_distance_m(old.lonlat, drawn.lonlat) >= 5000 + SIDE_M * np.sqrt(2)


def areas() -> Regions:
    return prepare_areas(table(list(strips([0.3, 0.3]).frame.geometry)), "areas")


def test_tiles_go_on_side_by_side() -> None:
    few, every = (draw_tiles(areas(), n, 1, Constraints(4480.0), 1.0) for n in (30, 10_000))
    old = Settled(few.lonlat[:30], np.full(30, "train"), np.full(30, "", dtype=object))
    drawn = draw_tiles(areas(), 10_000, 1, Constraints(4480.0, settled=old), 1.0)
    assert len(every.lonlat) == 30 + drawn.allocation.total
    assert {*map(tuple, old.lonlat.tolist()), *map(tuple, drawn.lonlat.tolist())} == set(
        map(tuple, every.lonlat.tolist())
    )
    between = Settled(every.lonlat[:1] + 0.01, np.array(["train"]), np.array([""], dtype=object))
    others = draw_tiles(areas(), 10_000, 1, Constraints(4480.0, settled=between), 1.0)
    assert smallest_distance_m(between.lonlat, others.lonlat) >= 4480
    assert others.refused[OVERLAP].sum() == len(every.lonlat) - len(others.lonlat) > 0


def test_more_than_there_is_room_for_is_refused() -> None:
    regions = strips([0.05], [1])
    some = settled_in(chosen(regions, draw(regions, weigh(regions), 100, 0, Constraints(SIDE_M), 1.0)))
    with pytest.raises(Fatal, match="have room for"):
        draw(regions, weigh(regions), 3000, 0, Constraints(SIDE_M, settled=some), 1.0)
