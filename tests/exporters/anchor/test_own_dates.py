"""Places with dates of their own get the scene nearest to them, or a reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.anchor import anchoring
from exporters.anchor.anchor_rules import AnchorRules, Draw
from exporters.anchor.own_dates import OwnDate
from pipeline.chip import Chip
from pipeline.locations import Locations
from pipeline.manifest import Manifest
from pipeline.own_columns import DATE, TEXT
from pipeline.progress import Silent
from tests.exporters.chips import location

RULES = AnchorRules(years=(2019, 2020), size_px=12, seed=5, batch=4)
# The tile has clear scenes of 2018-03-01, 11 and 21 (l1c) and of 2019-06-02 and 12 (l1c and l2a), clouds in 2020.
DAYS = {
    "near the second": (date(2018, 3, 8), None, None),
    "same day": (date(2019, 6, 2), None, None),
    "in the range alone": (date(2018, 3, 8), date(2018, 2, 20), date(2018, 3, 5)),
    "last day counts": (None, date(2018, 3, 12), date(2018, 3, 21)),
    "middle of a range": (None, date(2018, 3, 1), date(2018, 3, 23)),
    "clouds alone": (date(2020, 5, 5), None, None),
    "before there was any": (None, date(2001, 1, 1), date(2001, 12, 31)),
    "no date": (None, None, None),
}


def dated(days: Mapping[str, tuple[date | None, date | None, date | None]]) -> Locations:
    table = Locations.of([replace(location(row), stratum="points") for row in range(len(days))]).table
    columns = zip(*days.values(), strict=True)
    for name, column in zip(("date", "start", "end"), columns, strict=True):
        table = table.append_column(name, pa.array(column, DATE))
    return Locations(table.append_column("case", pa.array(list(days), TEXT)))


def test_every_place_gets_the_scene_nearest_to_its_date_or_a_reason(engine, sandbox, tmp_path):
    result = anchoring.anchor(engine, dated(DAYS), {"points": 8}, replace(RULES, batch=200), tmp_path, Silent())
    chips: dict[str, Chip] = {chip.own["case"]: chip for chip in Manifest(result.rows)}
    found = {case: chip.acquisition.date.date() for case, chip in chips.items() if case != "no date"}
    assert found == {
        "near the second": date(2018, 3, 11), "same day": date(2019, 6, 2), "in the range alone": date(2018, 3, 1),
        "last day counts": date(2018, 3, 21), "middle of a range": date(2018, 3, 11),
    }  # fmt: skip
    assert chips["no date"].acquisition.date.year == 2019, "years decide where no date does"
    same_day = chips["same day"]
    assert same_day.acquisition.level == Draw.of(same_day.location.id, RULES).levels[0]
    assert same_day.own["date"] == date(2019, 6, 2)
    rejected = result.rejected_frame().set_index("case")
    assert rejected["reason"].to_dict() == {
        "clouds alone": "no scene of 2020-04-05 to 2020-06-04 with at most 10 % clouds covers the chip",
        "before there was any": "no scene of 2001-01-01 to 2001-12-31 with at most 10 % clouds covers the chip",
    }
    assert sandbox.counters()["requests"]["value:compute"] <= 3, "dates cost no request"


def test_places_without_a_date_are_anchored_as_if_there_were_no_such_columns(engine, tmp_path):
    table = dated({f"place {number}": (None, None, None) for number in range(8)})
    plain = Locations(table.table.drop_columns(["date", "start", "end"]))
    one, other = (
        anchoring.anchor(engine, each, {"points": 8}, RULES, tmp_path / str(number), Silent())
        for number, each in enumerate((table, plain))
    )
    names = [name for name in one.rows.schema.names if name not in ("date", "start", "end")]
    assert one.rows.part(0, 8).select(names) == other.rows.part(0, 8)
    assert {path.name for path in (tmp_path / "0").iterdir()} == {path.name for path in (tmp_path / "1").iterdir()}


def test_a_changed_date_or_window_is_asked_about_anew(engine, sandbox, tmp_path):
    def asked(days: dict, rules: AnchorRules) -> int:
        sandbox.reset_counters()
        anchoring.anchor(engine, dated(days), {"points": 1}, rules, tmp_path, Silent())
        return sandbox.counters()["total"]

    first = {"one": (date(2018, 3, 8), None, None)}
    assert asked(first, RULES) and not asked(first, RULES)
    assert asked({"one": (date(2018, 3, 9), None, None)}, RULES)
    assert asked(first, replace(RULES, date_window_days=9))


@pytest.mark.parametrize(("days", "found"), [(2, 0), (3, 1)])
def test_the_window_bounds_how_far_the_scene_may_be(engine, tmp_path, days, found):
    table = dated({"one": (date(2018, 3, 8), None, None)})
    rules = replace(RULES, date_window_days=days)
    assert anchoring.anchor(engine, table, {"points": 1}, rules, tmp_path, Silent()).rows.count == found


@given(st.dates(date(1900, 1, 1), date(2100, 1, 1)), st.integers(0, 400), st.integers(0, 1000))
def test_a_range_holds_its_middle_and_its_days_whole(first: date, length: int, minute: int) -> None:
    last = date.fromordinal(first.toordinal() + length)
    own = OwnDate.of(None, first, last, 30)
    assert own is not None and first <= own.wanted <= last
    start_ms, end_ms = own.span_ms
    assert end_ms - start_ms == (length + 1) * 86_400_000
    assert own.days_from(start_ms + minute) + own.days_from(end_ms - 1 - minute) == length
    assert OwnDate.of(first, None, None, length) == OwnDate(first, *(date.fromordinal(first.toordinal() + step)
                                                                     for step in (-length, length)))  # fmt: skip
