"""Patterns of paths, against the file system and a plain reading of the same names."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.files.moment import moment_of
from exporters.files.pattern import Pattern, filled
from pipeline.errors import Fatal

NAME = st.text("abcXYZ019.-", min_size=1, max_size=6).filter(lambda text: text.strip("."))


def touch(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()


def found(folder: Path, pattern: str) -> dict[str, dict[str, str]]:
    return dict(Pattern(pattern).find(folder))


@given(kind=NAME, place=NAME, band=NAME)
def test_what_a_name_was_made_of_is_read_from_it(kind, place, band):
    pattern = Pattern("{kind}/{place}_{band}.tif")
    match = pattern._expression.fullmatch(f"{kind}/{place}_{band}.tif")
    assert match is not None
    assert match.groupdict() == {"kind": kind, "place": place, "band": band}


def test_wildcards_stay_in_their_folder_and_two_stars_do_not(tmp_path):
    touch(tmp_path, "a.tif", "x/b.tif", "x/y/c.tif", "x/y/c.txt")
    assert list(found(tmp_path, "*.tif")) == ["a.tif"]
    assert list(found(tmp_path, "*/*.tif")) == ["x/b.tif"]
    assert list(found(tmp_path, "**/*.tif")) == ["a.tif", "x/b.tif", "x/y/c.tif"]
    assert list(found(tmp_path, "x/**/?.tif")) == ["x/b.tif", "x/y/c.tif"]


def test_a_name_that_stands_twice_is_the_same_text(tmp_path):
    touch(tmp_path, "p1/p1_s2.tif", "p1/p2_s2.tif")
    assert found(tmp_path, "{place}/{place}_s2.tif") == {"p1/p1_s2.tif": {"place": "p1"}}


def test_a_time_in_a_name_ends_where_its_form_ends(tmp_path):
    touch(tmp_path, "T32_20200131T101500_B02.tif", "T32_2020_B02.tif")
    pattern = Pattern("{place}_{time:%Y%m%dT%H%M%S}_{band}.tif")
    ((_, says),) = pattern.find(tmp_path)
    assert says == {"place": "T32", "time": "20200131T101500", "band": "B02"}
    assert moment_of(says["time"], pattern.time_form) == datetime(2020, 1, 31, 10, 15, tzinfo=UTC)


def test_a_directive_that_stands_twice_gives_no_time():
    assert moment_of("20202020", "%Y%Y") is None


def test_a_path_of_its_own_is_refused(tmp_path):
    with pytest.raises(Fatal, match="is not relative to files.folder"):
        found(tmp_path, f"{tmp_path}/*.tif")


def test_a_link_to_a_folder_above_ends_the_walk(tmp_path):
    touch(tmp_path, "x/a.tif")
    (tmp_path / "x" / "up").symlink_to(tmp_path)
    assert list(found(tmp_path, "**/*.tif")) == ["x/a.tif"]


@pytest.mark.parametrize("pattern", ["{place:%Y}.tif", "{time:%Q}.tif"])
def test_what_is_not_known_in_braces_is_said(tmp_path, pattern):
    with pytest.raises(Fatal, match="not known"):
        found(tmp_path, pattern)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2023-06-10T07:46:21.000000000", datetime(2023, 6, 10, 7, 46, 21, tzinfo=UTC)),
        ("2023-06-10T09:46:21+02:00", datetime(2023, 6, 10, 7, 46, 21, tzinfo=UTC)),
        ("20230610", datetime(2023, 6, 10, tzinfo=UTC)),
        ("soon", None),
    ],
)
def test_times_are_in_utc(text, moment):
    assert moment_of(text) == moment


def test_a_template_with_an_empty_cell_is_no_path():
    assert filled("{a}/{b}.tif", {"a": "x", "b": "y"}) == "x/y.tif"
    assert filled("{a}/{b}.tif", {"a": "x", "b": ""}) is None
