"""The demo's end says in words which losses fell."""

from __future__ import annotations

from flows.loss_words import loss_words


def test_what_fell_and_what_did_not() -> None:
    first = {"height": 1.0, "cover": 2.0, "month": 1.0, "lat": 1.0, "gone": 1.0}
    lines = loss_words(first, {"height": 0.4, "cover": 0.1, "month": 0.99, "lat": 1.2}, 250, "0 is right.")
    assert lines[0] == "In 250 steps 2 of 4 losses fell by a tenth or more: cover most, to 5 % of what it was."
    assert lines[1] == "lat and month hardly fell: on so few steps and chips that is to be expected."
    assert lines[2] == "0 is right."


def test_many_names_are_cut_and_none_are_no_words() -> None:
    names = [f"layer_{index}" for index in range(9)]
    lines = loss_words(dict.fromkeys(names, 1.0), dict.fromkeys(names, 1.0), 3)
    assert lines[0] == "In 3 steps 0 of 9 losses fell by a tenth or more."
    assert "layer_5 and 3 others hardly fell" in lines[1]
    assert loss_words({}, {}, 3) == []
