"""The tables of anchoring against objects for every location; files of a batch, today's and older ones."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.anchor import anchoring, outcomes
from exporters.anchor.anchor_rules import AnchorRules, Candidate
from exporters.anchor.outcomes import Outcome, PinnedScenes
from exporters.anchor.strata import Strata
from pipeline.errors import Fatal
from pipeline.location import Location, location_id
from pipeline.locations import Locations
from pipeline.manifest import Manifest
from tests.exporters.anchor import plain_anchoring

REASON = "no scene of 2019 with at most 10 % clouds covers the chip"
World = tuple[list[Location], dict[str, Outcome], list[str]]
QUOTAS = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 12), min_size=1)


def place(number: int, stratum: str) -> Location:
    lon, lat = round(-170 + 7.3 * number % 340, 7), round(-70 + 11.1 * number % 140, 7)
    return Location(
        location_id(lon, lat), lon, lat, stratum, number % 15, f"biome {number % 15}", number % 9, "", "Nearctic"
    )


def pins(number: int, level: str = "l2a") -> PinnedScenes:
    """Scenes that follow from a number; times that are no whole seconds, some without radar."""
    time_ms = 1.5e12 + number * 86_400_017
    radar = {name: Candidate(f"S1_{number}_{name}", time_ms + 7e6) if number % odd else None
             for name, odd in (("ascending", 3), ("descending", 5))}  # fmt: skip
    tile = f"{1 + number % 60:02d}{'GP'[number % 2]}AB"
    return PinnedScenes(level, Candidate(f"2019_{number}_T{tile}", time_ms, tile), radar)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Locations of some strata, mixed, what is found for each, and their splits."""
    drawn = draw(
        st.lists(
            st.tuples(st.sampled_from("abc"), st.booleans(), st.sampled_from(("train", "val", "test"))), max_size=70
        )
    )
    locations = [place(number, stratum) for number, (stratum, *_) in enumerate(drawn)]
    result = {each.id: pins(number, ("l1c", "l2a")[number % 2]) if drawn[number][1] else f"{REASON} {number % 3}"
             for number, each in enumerate(locations)}  # fmt: skip
    return locations, result, [split for *_, split in drawn]


@given(worlds(), QUOTAS, st.integers(0, 3), st.integers(1, 9), st.booleans())
@settings(max_examples=150, deadline=None)
def test_tables_give_what_objects_give(
    world: tuple[list[Location], dict[str, Outcome], list[str]],
    quotas: dict[str, int],
    seed: int,
    batch: int,
    own: bool,
) -> None:
    locations, result, splits = world
    rules = AnchorRules(own_zone=own, size_px=17)
    table = with_splits(locations, splits)
    asked, anchored = anchored_by_tables(table, quotas, result, rules, batch)
    plain_asked, filling, passed_over, shortfalls = plain_anchoring.rounds(locations, quotas, result)
    assert asked == plain_asked
    assert anchored.shortfalls == shortfalls
    assert anchored.rejected_frame().equals(plain_anchoring.rejected(passed_over, result))
    split_of = dict(zip([each.id for each in locations], splits, strict=True))
    chips = [plain_anchoring.chip(each, result[each.id], split_of[each.id], rules) for each in filling]
    if chips:
        assert list(Manifest.freeze_rows(anchored.rows, seed)) == plain_anchoring.frozen(chips, seed)
        assert Manifest.freeze_rows(anchored.rows, seed) == Manifest.freeze(chips[::-1], seed)
    else:
        with pytest.raises(Fatal, match="no chips"):
            Manifest.freeze_rows(anchored.rows, seed)


def with_splits(locations: list[Location], splits: list[str]) -> Locations:
    bare = Locations.of(locations)
    return Locations(bare.table.drop_columns(["split"])).with_split(np.array(splits, dtype=str))


def anchored_by_tables(
    table: Locations, quotas: dict[str, int], results: dict[str, Outcome], rules: AnchorRules, batch: int
) -> tuple[list[list[str]], anchoring.Anchored]:
    """The rounds, with batches that come back last first; ids asked about in each round, and the result."""
    strata, answers, asked = Strata(table, quotas), anchoring._Answers(len(table)), []
    while len(wanted := strata.next_round()):
        asked.append(table.take(wanted).table.column("id").to_pylist())
        for rows in [wanted[start : start + batch] for start in range(0, len(wanted), batch)][::-1]:
            some = table.take(rows)
            part = outcomes.outcome_table(
                some.lonlat, [results[each] for each in some.table.column("id").to_pylist()], rules
            )
            strata.count(rows, answers.add(rows, part))
    return asked, anchoring._result(table, strata, quotas, answers, rules)


def some(count: int) -> tuple[list[str], np.ndarray, list[Outcome]]:
    places = [place(number, "a") for number in range(count)]
    result: list[Outcome] = [REASON if number % 4 == 1 else pins(number) for number in range(count)]
    return [each.id for each in places], np.array([each.lonlat for each in places]), result


def test_a_batch_comes_back_from_its_file(tmp_path: Path) -> None:
    ids, lonlat, result = some(30)
    table = outcomes.outcome_table(lonlat, result, AnchorRules())
    outcomes.write(tmp_path / "part.arrow", table)
    assert outcomes.read(tmp_path / "part.arrow", ids, lonlat, AnchorRules()) == table
    assert outcomes.read(tmp_path / "other.arrow", ids, lonlat, AnchorRules()) is None


def older(outcome: Outcome) -> dict[str, Any]:
    """As releases before kept it, in a JSON object by id."""
    if isinstance(outcome, str):
        return {"reason": outcome}
    radar = {name: scene and asdict(scene) for name, scene in outcome.passes.items()}
    return {"level": outcome.level, "anchor": asdict(outcome.anchor), **radar}


def test_what_an_older_release_kept_is_read(tmp_path: Path) -> None:
    ids, lonlat, result = some(30)
    (tmp_path / "part.json").write_text(json.dumps(dict(zip(ids, map(older, result), strict=True))))
    read = outcomes.read(tmp_path / "part.arrow", ids, lonlat, AnchorRules())
    assert read == outcomes.outcome_table(lonlat, result, AnchorRules())


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_a_damaged_file_is_refused_with_a_remedy(tmp_path: Path, damage: str) -> None:
    ids, lonlat, result = some(8)
    path = tmp_path / "part.arrow"
    outcomes.write(path, outcomes.outcome_table(lonlat, result, AnchorRules()))
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-40])
        ids = ids[:8]
    else:
        ids = ids[:7]
    with pytest.raises(Fatal, match=r"part.arrow .* delete it, and .* asked for again"):
        outcomes.read(path, ids, lonlat, AnchorRules())
