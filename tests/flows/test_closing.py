"""What a stage says at its end, to a person and to a machine."""

from __future__ import annotations

import json
import pickle

from flows.closing import Closing, as_json


def test_a_table_is_fields_for_a_machine() -> None:
    closing = Closing.of("a   b\n1   2", done="Two numbers.", a=1, losses={"x": float("nan")}, free=[float("inf"), 2])
    assert f"{closing}" == "a   b\n1   2"
    told = as_json(closing, "c")
    assert json.loads(json.dumps(told, allow_nan=False)) == {
        "folder": "c", "done": "Two numbers.", "a": 1, "losses": {"x": None}, "free": [None, 2],
    }  # fmt: skip


def test_facts_travel_and_plain_sentences_stay() -> None:
    assert as_json(pickle.loads(pickle.dumps(Closing.of("Done.", chips=3))), "c")["chips"] == 3  # noqa: S301 (our own)
    assert as_json("Done.", "c") == {"folder": "c", "done": "Done."}
