"""Progress in lines: what a log and a machine read."""

from __future__ import annotations

import io
import json

from flows.progress.display import Lines, figures_text


def test_the_last_line_says_how_far_a_run_got() -> None:
    stream = io.StringIO()
    with Lines(stream) as progress:
        progress.start("export", 8)
        for _ in range(5):
            progress.advance()
        progress.note(given_up="3 Transient", left_s=7500.0, per_s=0.25)
    first, last = stream.getvalue().splitlines()
    assert (first, last) == ("export: 0/8", "export: 5/8  given up 3 Transient  left 2 h 5 min  per s 0.25")


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


def test_figures_are_short() -> None:
    assert figures_text({"requests": 1234567, "eecu_hours": 0.123456, "errors": "2 timed out"}) == (
        "requests 1,234,567  eecu hours 0.123  errors 2 timed out"
    )
