"""Pinning: the same chips whatever the batches, the threads and the interruptions."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.anchor import anchoring, scene_search
from exporters.anchor.anchor_rules import AnchorRules, Candidate, Draw
from exporters.anchor.anchoring import anchor
from exporters.anchor.scene_search import BATCHES_AT_ONCE, Rejected
from exporters.earth_engine.client import Connection, connect
from pipeline.chip import Chip
from pipeline.errors import Fatal, Transient
from pipeline.grid import Grid
from pipeline.location import Location
from pipeline.progress import Silent
from sandbox.service.faults import Fault
from tests.exporters import tiny_earth
from tests.exporters.chips import chip, location
from tests.exporters.conftest import IMPATIENT
from tests.exporters.tiny_earth import day

RULES = AnchorRules(years=(2018, 2019, 2020), size_px=12, seed=5, batch=4)
OCEAN = Location("ocean", -30.0, 0.0, "7")


def places(count: int, stratum: str = "7") -> list[Location]:
    return [replace(location(index), stratum=stratum) for index in range(count)]


def with_ocean(count: int) -> list[Location]:
    """Every third place is where no scene is."""
    ocean = [replace(OCEAN, id=f"ocean{number}", lon=-30.0 + number / 10) for number in range(count)]
    return [ocean[number] if number % 3 == 1 else place for number, place in enumerate(places(count))]


def test_quotas_are_filled_in_order_and_what_is_passed_over_has_a_reason(engine, tmp_path):
    result = anchor(engine, with_ocean(20), {"7": 8}, RULES, tmp_path, Silent())
    assert len(result.chips) == 8 and not result.shortfalls
    order = [place.id for place in with_ocean(20)]
    chosen = [order.index(each.location.id) for each in result.chips]
    passed = [order.index(each.location.id) for each in result.rejected]
    assert chosen == sorted(chosen)
    assert sorted(chosen + passed) == list(range(max(chosen) + 1)), "nobody was skipped without a reason"
    assert len(result.rejected) == 4
    assert all("2018, 2019, 2020" in each.reason and "clouds" in each.reason for each in result.rejected)


def test_grids_lie_on_the_tiles_lattice_and_inside_the_scene(engine, tmp_path):
    result = anchor(engine, places(12), {"7": 6}, RULES, tmp_path, Silent())
    for each in result.chips:
        assert each.grid == Grid.around(each.location.lonlat, tiny_earth.CRS, 12)
        assert each.acquisition.anchor.asset_id.endswith(tiny_earth.TILE)


def test_tiles_stay_in_their_own_zone_where_a_neighbouring_scene_serves():
    place = Location("border", 11.99, 45.0)
    scene = {"index": "20180101T100000_20180101T100000_T33TTL", "time_ms": 1.515e12, "tile": "33TTL"}
    kept = {"level": "l2a", "anchor": scene, "ascending": None, "descending": None}
    result = {own: scene_search._outcome(place, kept, replace(RULES, own_zone=own)).grid.crs for own in (False, True)}
    assert result == {False: "EPSG:32633", True: "EPSG:32632"}


def test_the_first_drawn_year_with_a_scene_serves(engine, tmp_path):
    result = anchor(engine, places(12), {"7": 12}, RULES, tmp_path, Silent())
    assert len(result.chips) == 12 and not result.rejected
    for each in result.chips:
        usable = [year for year in Draw.of(each.location, RULES).years if year != 2020]
        assert each.acquisition.date.year == usable[0]
    assert any(Draw.of(each.location, RULES).years[0] == 2020 for each in result.chips)


def test_a_year_that_nobody_allowed_is_never_used(engine, tmp_path):
    rules = replace(RULES, years=(2018, 2020))
    result = anchor(engine, places(8), {"7": 8}, rules, tmp_path, Silent())
    assert {each.acquisition.date.year for each in result.chips} == {2018}
    none = anchor(engine, places(3), {"7": 3}, replace(RULES, years=(2017, 2020)), tmp_path, Silent())
    assert not none.chips and none.shortfalls == {"7": 3} and len(none.rejected) == 3


def test_radar_is_the_nearest_in_time_per_pass(engine, tmp_path):
    result = anchor(engine, places(30), {"7": 15}, RULES, tmp_path, Silent())
    years = {each.acquisition.date.year for each in result.chips}
    assert years == {2018, 2019}
    for each in result.chips:
        date, pins = each.acquisition.date, each.acquisition
        known = {2018: [day(2018, 3, 3), day(2018, 3, 15)], 2019: [day(2019, 6, 5), day(2019, 6, 9)]}[date.year]
        assert pins.ascending.time == min(known, key=lambda time: abs(time - date))
        assert (pins.descending is None) == (date.year == 2018)


def test_a_radar_scene_beyond_the_window_does_not_count(engine, tmp_path):
    result = anchor(engine, places(30), {"7": 15}, replace(RULES, orbit_window_days=2.5), tmp_path, Silent())
    pins = [each.acquisition for each in result.chips]
    gaps = [pin.ascending.time - pin.date for pin in pins if pin.ascending]
    assert gaps and all(abs(gap) <= timedelta(days=2.5) for gap in gaps)
    assert len(gaps) < len(pins), "the window leaves some without"


def test_the_other_level_serves_where_the_drawn_one_has_nothing(engine, tmp_path):
    result = anchor(engine, places(30), {"7": 20}, replace(RULES, years=(2018,)), tmp_path, Silent())
    drawn = {Draw.of(each.location, RULES).levels[0] for each in result.chips}
    assert drawn == {"l1c", "l2a"}
    assert {each.acquisition.level for each in result.chips} == {"l1c"}


def test_batches_do_not_change_the_choice(engine, tmp_path):
    strata = [*places(10, "1"), *[replace(place, stratum="2") for place in with_ocean(25)[10:]]]
    quotas = {"1": 4, "2": 6}
    results = [
        anchor(engine, strata, quotas, replace(RULES, batch=batch), tmp_path / str(batch), Silent())
        for batch in (1, 3, 200)
    ]
    assert results[0] == results[1] == results[2]


def test_order_of_batches_and_seed_matter_as_they_should(engine, tmp_path):
    first = anchor(engine, places(12), {"7": 6}, RULES, tmp_path, Silent())
    other = anchor(engine, places(12), {"7": 6}, replace(RULES, seed=6), tmp_path, Silent())
    assert first != other
    shuffled = places(12)
    random.Random(0).shuffle(shuffled)
    same = anchor(engine, shuffled, {"7": 12}, RULES, tmp_path, Silent())
    chips = {each.location.id: each for each in same.chips}
    assert all(chips[each.location.id] == each for each in first.chips)


def test_an_interrupted_run_asks_nothing_twice(sandbox, engine, tmp_path):
    whole = anchor(engine, with_ocean(20), {"7": 8}, RULES, tmp_path / "whole", Silent())
    needed = sandbox.counters()["total"]
    sandbox.reset_counters()
    impatient = connect(Connection("demo-project", url=sandbox.url, patience=replace(IMPATIENT, transient_attempts=1)))
    sandbox.reset_counters()
    sandbox.faults(Fault("slow", next=3, seconds=0.01), Fault("503", rate=1.0))
    with pytest.raises(Transient):
        anchor(impatient, with_ocean(20), {"7": 8}, RULES, tmp_path / "parts", Silent())
    sandbox.faults()
    assert anchor(engine, with_ocean(20), {"7": 8}, RULES, tmp_path / "parts", Silent()) == whole
    answered = sandbox.counters()["statuses"]["200"]
    assert needed <= answered <= needed + BATCHES_AT_ONCE
    sandbox.reset_counters()
    assert anchor(engine, with_ocean(20), {"7": 8}, RULES, tmp_path / "parts", Silent()) == whole
    assert sandbox.counters()["total"] == 0


@pytest.mark.parametrize(("years", "requests"), [((2019,), 2), ((2018, 2019), 2), ((2019, 2020), 3)])
def test_a_batch_costs_two_requests_and_one_more_where_a_first_year_fails(sandbox, engine, tmp_path, years, requests):
    anchor(engine, places(20), {"7": 20}, replace(RULES, batch=200, years=years), tmp_path, Silent())
    assert sandbox.counters()["requests"] == {"value:compute": requests}


def test_a_batch_that_is_too_large_is_divided(sandbox, engine, tmp_path):
    whole = anchor(engine, with_ocean(12), {"7": 8}, RULES, tmp_path / "whole", Silent())
    sandbox.faults(Fault("memory", next=1))
    assert anchor(engine, with_ocean(12), {"7": 8}, RULES, tmp_path / "divided", Silent()) == whole


def test_a_stratum_that_runs_dry_says_by_how_many(engine, tmp_path):
    result = anchor(engine, [OCEAN, *places(2)], {"7": 5, "absent": 3, "none": 0}, RULES, tmp_path, Silent())
    assert result.shortfalls == {"7": 3, "absent": 3}
    assert "ocean" in {each.location.id for each in result.rejected}
    frame = result.rejected_frame()
    assert {"id", "lon", "lat", "stratum", "reason"} <= set(frame.columns)
    assert len(frame) == len(result.rejected)


@pytest.mark.parametrize("wrong", [{"levels": ("l3",)}, {"levels": ()}, {"years": ()}, {"batch": 0}])
def test_rules_that_cannot_work_are_refused(wrong):
    with pytest.raises(Fatal, match="anchor"):
        AnchorRules(**wrong)


@given(st.permutations([Candidate(f"scene{number}", number, "32TPS") for number in range(7)]), st.integers(0, 99))
def test_the_choice_does_not_depend_on_the_order_of_the_answer(candidates, place):
    draw = Draw.of(location(place), RULES)
    assert draw.choose(candidates) == draw.choose(sorted(candidates, key=lambda candidate: candidate.index))


def test_every_year_level_and_scene_is_drawn_about_equally():
    draws = [Draw.of(Location(str(number), 0.0, 0.0), AnchorRules()) for number in range(4000)]
    for year in (2017, 2018, 2019, 2020):
        assert 900 < sum(draw.years[0] == year for draw in draws) < 1100
    assert 1900 < sum(draw.levels[0] == "l2a" for draw in draws) < 2100
    assert 1900 < sum(draw.place < 0.5 for draw in draws) < 2100


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60),
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 12), min_size=1),
)
@settings(max_examples=200)
def test_rounds_end_with_the_first_usable_of_every_stratum(world, quotas):
    """The rounds against a direct reading: filter, then cut; however much surplus they tried."""
    usable = {str(number): good for number, (_, good) in enumerate(world)}
    strata: dict[str, list[Location]] = {}
    for number, (name, _) in enumerate(world):
        if quotas.get(name, 0):
            strata.setdefault(name, []).append(Location(str(number), 0.0, 0.0, name))
    outcomes: dict = {}
    while batch := anchoring._next_round(strata, quotas, outcomes):
        assert not {place.id for place in batch} & set(outcomes), "nobody is asked about twice"
        outcomes |= {place.id: _outcome(place, usable[place.id]) for place in batch}
    result = anchoring._result(strata, quotas, outcomes)
    for name, quota in quotas.items():
        good = [place for place in strata.get(name, []) if usable[place.id]]
        assert [each.location for each in result.chips if each.location.stratum == name] == good[:quota]
        assert result.shortfalls.get(name, 0) == quota - min(quota, len(good))


def _outcome(place: Location, good: bool) -> Chip | Rejected:
    return replace(chip(day(2019, 6, 2)), location=place) if good else Rejected(place, "clouds")
