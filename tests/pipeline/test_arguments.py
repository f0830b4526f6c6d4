"""Arguments of a wrong type are one sentence; the right ones come back as they are used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline import arguments
from pipeline.errors import Fatal, unknown_name


@pytest.mark.parametrize("value", ["0", None, 1.5, slice(0, 2), [1]])
def test_what_is_no_whole_number_is_named(value: object) -> None:
    with pytest.raises(Fatal, match="^the row must be a whole number, not "):
        arguments.whole_number("the row", value)


def test_whole_numbers_of_any_type_have_a_least_one() -> None:
    assert arguments.whole_number("rank", np.int64(3)) == 3
    with pytest.raises(Fatal, match="^rank must be at least 1, not 0.$"):
        arguments.whole_number("rank", 0, 1)


@pytest.mark.parametrize("value", ["", None, 5, ["a"]])
def test_what_is_no_path_is_named(value: object) -> None:
    with pytest.raises(Fatal, match="^the folder must be a path, not "):
        arguments.path("the folder", value)


def test_paths_know_the_home_folder() -> None:
    assert arguments.path("the folder", "~/x") == Path.home() / "x"
    with pytest.raises(Fatal, match="there is no folder ~nobody-is-called-so"):
        arguments.path("the folder", "~nobody-is-called-so/x")


def test_one_name_is_a_list_of_one() -> None:
    assert arguments.names("bands", "B4") == ("B4",)
    assert arguments.names("bands", ["B4", 3, ["x"]]) == ("B4", "3", "['x']")
    with pytest.raises(Fatal, match="^bands must be a list of names, not 5.$"):
        arguments.names("bands", 5)


@pytest.mark.parametrize("name", [None, 5, ["physical"]])
def test_a_name_of_any_type_is_unknown(name: object) -> None:
    assert "physical" in str(unknown_name("kind of values", name, ["physical", "stored"]))
