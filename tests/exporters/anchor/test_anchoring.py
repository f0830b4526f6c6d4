"""Pinning: the same chips whatever the batches, the threads and the interruptions."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.anchor import anchoring, scene_search
from exporters.anchor.anchor_rules import AnchorRules, Candidate, Draw
from exporters.anchor.anchoring import Anchored
from exporters.anchor.outcomes import PinnedScenes, outcome_table
from exporters.anchor.scene_search import BATCHES_AT_ONCE
from exporters.earth_engine.client import Connection, EarthEngine, connect
from pipeline.chip import Chip
from pipeline.errors import Fatal, Transient
from pipeline.grid import Grid
from pipeline.location import Location
from pipeline.locations import Locations
from pipeline.manifest import SPLITS, Manifest
from pipeline.progress import Silent
from sandbox.service.faults import Fault
from tests.exporters import tiny_earth
from tests.exporters.chips import location
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


def anchor(engine: EarthEngine, locations: list[Location], *more: Any) -> Anchored:
    return anchoring.anchor(engine, Locations.of(locations), *more)


def chips_of(found: Anchored) -> list[Chip]:
    """Before they are frozen: in the order of the strata, without a row."""
    return [replace(chip, row=-1) for chip in Manifest(found.rows)]


def alike(one: Anchored, other: Anchored) -> bool:
    """Whether they hold the same rows in the same order."""
    same = [
        a.part(0, a.count) == b.part(0, b.count) for a, b in ((one.rows, other.rows), (one.rejected, other.rejected))
    ]
    return all(same) and one.shortfalls == other.shortfalls


def test_quotas_are_filled_in_order_and_what_is_passed_over_has_a_reason(engine, tmp_path):
    result = anchor(engine, with_ocean(20), {"7": 8}, RULES, tmp_path, Silent())
    assert len(chips_of(result)) == 8 and not result.shortfalls
    order = [place.id for place in with_ocean(20)]
    chosen = [order.index(each.location.id) for each in chips_of(result)]
    passed = [order.index(each) for each in result.rejected_frame()["id"]]
    assert chosen == sorted(chosen)
    assert sorted(chosen + passed) == list(range(max(chosen) + 1)), "nobody was skipped without a reason"
    assert result.rejected.count == 4
    assert all("2018, 2019, 2020" in each and "clouds" in each for each in result.rejected_frame()["reason"])


def test_grids_lie_on_the_tiles_lattice_and_inside_the_scene(engine, tmp_path):
    result = anchor(engine, places(12), {"7": 6}, RULES, tmp_path, Silent())
    for each in chips_of(result):
        assert each.grid == Grid.around(each.location.lonlat, tiny_earth.CRS, 12)
        assert each.acquisition.anchor.asset_id.endswith(tiny_earth.TILE)


def test_tiles_stay_in_their_own_zone_where_a_neighbouring_scene_serves():
    scene = Candidate("20180101T100000_20180101T100000_T33TTL", 1.515e12, "33TTL")
    pins, place = PinnedScenes("l2a", scene, {"ascending": None, "descending": None}), np.array([[11.99, 45.0]])
    result = {own: outcome_table(place, [pins], replace(RULES, own_zone=own)).column("crs") for own in (False, True)}
    assert {own: crs.to_pylist() for own, crs in result.items()} == {False: ["EPSG:32633"], True: ["EPSG:32632"]}


def test_the_first_drawn_year_with_a_scene_serves(engine, tmp_path):
    result = anchor(engine, places(12), {"7": 12}, RULES, tmp_path, Silent())
    assert len(chips_of(result)) == 12 and not result.rejected.count
    for each in chips_of(result):
        usable = [year for year in Draw.of(each.location.id, RULES).years if year != 2020]
        assert each.acquisition.date.year == usable[0]
    assert any(Draw.of(each.location.id, RULES).years[0] == 2020 for each in chips_of(result))


def test_a_year_that_nobody_allowed_is_never_used(engine, tmp_path):
    rules = replace(RULES, years=(2018, 2020))
    result = anchor(engine, places(8), {"7": 8}, rules, tmp_path, Silent())
    assert {each.acquisition.date.year for each in chips_of(result)} == {2018}
    none = anchor(engine, places(3), {"7": 3}, replace(RULES, years=(2017, 2020)), tmp_path, Silent())
    assert not chips_of(none) and none.shortfalls == {"7": 3} and none.rejected.count == 3


def test_radar_is_the_nearest_in_time_per_pass(engine, tmp_path):
    result = anchor(engine, places(30), {"7": 15}, RULES, tmp_path, Silent())
    years = {each.acquisition.date.year for each in chips_of(result)}
    assert years == {2018, 2019}
    for each in chips_of(result):
        date, pins = each.acquisition.date, each.acquisition
        known = {2018: [day(2018, 3, 3), day(2018, 3, 15)], 2019: [day(2019, 6, 5), day(2019, 6, 9)]}[date.year]
        assert pins.ascending.time == min(known, key=lambda time: abs(time - date))
        assert (pins.descending is None) == (date.year == 2018)


def test_a_radar_scene_beyond_the_window_does_not_count(engine, tmp_path):
    result = anchor(engine, places(30), {"7": 15}, replace(RULES, orbit_window_days=2.5), tmp_path, Silent())
    pins = [each.acquisition for each in chips_of(result)]
    gaps = [pin.ascending.time - pin.date for pin in pins if pin.ascending]
    assert gaps and all(abs(gap) <= timedelta(days=2.5) for gap in gaps)
    assert len(gaps) < len(pins), "the window leaves some without"


def test_the_other_level_serves_where_the_drawn_one_has_nothing(engine, tmp_path):
    result = anchor(engine, places(30), {"7": 20}, replace(RULES, years=(2018,)), tmp_path, Silent())
    drawn = {Draw.of(each.location.id, RULES).levels[0] for each in chips_of(result)}
    assert drawn == {"l1c", "l2a"}
    assert {each.acquisition.level for each in chips_of(result)} == {"l1c"}


def test_batches_do_not_change_the_choice(engine, tmp_path):
    strata = [*places(10, "1"), *[replace(place, stratum="2") for place in with_ocean(25)[10:]]]
    quotas = {"1": 4, "2": 6}
    results = [
        anchor(engine, strata, quotas, replace(RULES, batch=batch), tmp_path / str(batch), Silent())
        for batch in (1, 3, 200)
    ]
    assert all(alike(results[0], other) for other in results[1:])


def test_order_of_batches_and_seed_matter_as_they_should(engine, tmp_path):
    first = anchor(engine, places(12), {"7": 6}, RULES, tmp_path, Silent())
    other = anchor(engine, places(12), {"7": 6}, replace(RULES, seed=6), tmp_path, Silent())
    assert not alike(first, other)
    shuffled = places(12)
    random.Random(0).shuffle(shuffled)
    same = anchor(engine, shuffled, {"7": 12}, RULES, tmp_path, Silent())
    chips = {each.location.id: each for each in chips_of(same)}
    assert all(chips[each.location.id] == each for each in chips_of(first))


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
    assert alike(anchor(engine, with_ocean(20), {"7": 8}, RULES, tmp_path / "parts", Silent()), whole)
    answered = sandbox.counters()["statuses"]["200"]
    assert needed <= answered <= needed + BATCHES_AT_ONCE
    sandbox.reset_counters()
    assert alike(anchor(engine, with_ocean(20), {"7": 8}, RULES, tmp_path / "parts", Silent()), whole)
    assert sandbox.counters()["total"] == 0


@pytest.mark.parametrize(("years", "requests"), [((2019,), 2), ((2018, 2019), 2), ((2019, 2020), 3)])
def test_a_batch_costs_two_requests_and_one_more_where_a_first_year_fails(sandbox, engine, tmp_path, years, requests):
    anchor(engine, places(20), {"7": 20}, replace(RULES, batch=200, years=years), tmp_path, Silent())
    assert sandbox.counters()["requests"] == {"value:compute": requests}


def test_a_batch_that_is_too_large_is_divided(sandbox, engine, tmp_path):
    whole = anchor(engine, with_ocean(12), {"7": 8}, RULES, tmp_path / "whole", Silent())
    sandbox.faults(Fault("memory", next=1))
    assert alike(anchor(engine, with_ocean(12), {"7": 8}, RULES, tmp_path / "divided", Silent()), whole)


def test_a_stratum_that_runs_dry_says_by_how_many(engine, tmp_path):
    result = anchor(engine, [OCEAN, *places(2)], {"7": 5, "absent": 3, "none": 0}, RULES, tmp_path, Silent())
    assert result.shortfalls == {"7": 3, "absent": 3}
    frame = result.rejected_frame()
    assert "ocean" in set(frame["id"])
    assert {"id", "lon", "lat", "stratum", "reason"} <= set(frame.columns)
    assert len(frame) == result.rejected.count


@pytest.mark.parametrize("wrong", [{"levels": ("l3",)}, {"levels": ()}, {"years": ()}, {"batch": 0}])
def test_rules_that_cannot_work_are_refused(wrong):
    with pytest.raises(Fatal, match="anchor"):
        AnchorRules(**wrong)


@given(st.permutations([Candidate(f"scene{number}", number, "32TPS") for number in range(7)]), st.integers(0, 99))
def test_the_choice_does_not_depend_on_the_order_of_the_answer(candidates, place):
    draw = Draw.of(location(place).id, RULES)
    assert draw.choose(candidates) == draw.choose(sorted(candidates, key=lambda candidate: candidate.index))


def test_every_year_level_and_scene_is_drawn_about_equally():
    draws = [Draw.of(str(number), AnchorRules()) for number in range(4000)]
    for year in (2017, 2018, 2019, 2020):
        assert 900 < sum(draw.years[0] == year for draw in draws) < 1100
    assert 1900 < sum(draw.levels[0] == "l2a" for draw in draws) < 2100
    assert 1900 < sum(draw.place < 0.5 for draw in draws) < 2100


def test_manifests_stay_what_they_were(engine, tmp_path):
    """The digest is what was frozen when each location was an object."""
    strata = [*places(10, "1"), *[replace(place, stratum="2") for place in with_ocean(40)[10:]]]
    result = anchor(engine, strata, {"1": 6, "2": 9, "3": 1}, RULES, tmp_path, Silent())
    chips = [replace(chip, split=SPLITS[int(chip.location.id, 16) % 3]) for chip in chips_of(result)]
    digest = "229dab8b10e3ab6f8f8383234acab7b3cfb1cc2ac9261572b00c6051bd24d589"
    assert Manifest.freeze(chips, 3).digest == digest
    assert result.shortfalls == {"3": 1}
    assert result.rejected_frame()["id"].tolist() == [f"ocean{number}" for number in (10, 13, 16, 19, 22)]


@pytest.mark.parametrize(
    ("rules", "name"),
    [
        (AnchorRules(), "ea161f28b69af138834861d9"),
        (
            AnchorRules(years=(2019,), size_px=64, seed=3, own_zone=True, batch=7, orbit_window_days=21),
            "f2921a7b4c3b632914e0cf1c",
        ),
    ],
)
def test_part_files_are_found_under_the_names_that_they_always_had(rules, name):
    two = Locations.of([Location("a1", 10.25, 50.5, "7"), Location("b2", -179.0000001, -16.1234567, "7")])
    assert scene_search._key(scene_search._Batch.of(two, rules)) == name
