"""Progress in lines: what a log and a machine read."""

from __future__ import annotations

import io
import json

from flows.progress.figures import figures_text, lines
from flows.progress.lines import Lines


def test_the_last_line_says_how_far_a_run_got() -> None:
    stream = io.StringIO()
    with Lines(stream) as progress:
        progress.start("export", 8)
        for _ in range(5):
            progress.advance()
        progress.note(given_up="3 Transient", left_s=7500.0, per_s=0.25)
    first, last = stream.getvalue().splitlines()
    assert (first, last) == ("export: 0/8", "export: 5/8  left 2 h 5 min  per s 0.25  given up 3 Transient")


def test_nothing_is_said_twice() -> None:
    stream = io.StringIO()
    with Lines(stream) as progress:
        progress.start("export", 2)
        progress.advance(2)
    assert stream.getvalue().splitlines() == ["export: 0/2", "export: 2/2"]
    with Lines(stream) as progress:
        pass
    assert len(stream.getvalue().splitlines()) == 2, "no stage was begun"


def test_machines_get_numbers() -> None:
    stream = io.StringIO()
    with Lines(stream, as_json=True) as progress:
        progress.start("export", 8, 1)
        progress.note(left_s=7.5, refused=3)
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert told[-1] == {"stage": "export", "done": 1, "total": 8, "left_s": 7.5, "refused": 3}


def test_a_line_is_short_and_says_how_many_losses_fall() -> None:
    stream = io.StringIO()
    with Lines(stream) as progress:
        progress.start("pretrain", 100)
        for step in range(12):
            losses = {f"loss_layer_{index}": (1 if index else -1) * (10.0 - step) for index in range(15)}
            progress.note(loss=3.25, lr=0.001, left_s=61.0, eta="61 s", samples_per_s=99.5, **losses)
        progress.advance(20)
    last = stream.getvalue().splitlines()[-1]
    assert last.startswith("pretrain: 20/100  left 61 s  samples per s 99.5  loss 3.25  14 of 15 losses fall now")
    assert len(last) <= 110 and last.count("left") == 1


def test_lines_break_between_figures_and_none_is_too_long() -> None:
    assert lines(["left 3 min", "per s 1", "a word that is too long"], 20) == [
        "left 3 min  per s 1",
        "a word that is too …",
    ]
    assert lines([], 20) == []


def test_figures_are_short() -> None:
    assert figures_text({"requests": 1234567, "eecu_hours": 0.123456, "errors": "2 timed out"}) == (
        "errors 2 timed out  requests 1,234,567  eecu hours 0.123"
    )
