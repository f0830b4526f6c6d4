"""Reasons add up by their kinds once there are too many to read."""

from collections import Counter

from pipeline.reasons import gathered, kind_of


def test_a_kind_is_what_chips_have_in_common() -> None:
    assert kind_of("no scene in the window around 2019-03-04") == "no scene in the window around"
    assert kind_of("masked out") == "masked out"


def test_few_reasons_stay_as_they_are_and_many_add_up() -> None:
    dated = Counter({f"no scene around 2019-01-{day:02d}": day for day in range(1, 8)})
    assert gathered(dated, 7) == dated
    assert gathered(dated + Counter({"masked": 3}), 7) == {"no scene around": 28, "masked": 3}
