"""An error of a file of the user's own is said with the file and the line, and not as a defect of ours."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from flows.terminal import cli
from flows.terminal.own_code import place_of
from pipeline.grid import Grid

CODE = """
import json
from pipeline.grid import Grid

def divide():
    return 1 / 0

def wrong_type():
    return json.dumps(object())

def wrong_grid():
    return Grid.around(None, "EPSG:32642", size_px=64)
"""


def own(folder: Path, name: str) -> Exception:
    """What a function of a file of the user's own raises."""
    path = folder / "mine.py"
    path.write_text(CODE)
    spec = importlib.util.spec_from_file_location("mine", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.raises(Exception) as refusal:  # noqa: B017 - whatever it raises
        getattr(module, name)()
    error = refusal.value
    assert error.__traceback__ is not None and isinstance(error, Exception)
    return error.with_traceback(error.__traceback__.tb_next)  # without this file, which nothing of ours calls


@pytest.mark.parametrize(("name", "line"), [("divide", 6), ("wrong_type", 9), ("wrong_grid", 12)])
def test_the_line_is_that_of_the_own_file(tmp_path: Path, name: str, line: int) -> None:
    """Also where a library or a function of ours raises, that it called."""
    assert place_of(own(tmp_path, name)) == f"mine.py, line {line}"


def test_a_defect_of_ours_has_no_place_there() -> None:
    with pytest.raises(Exception) as refusal:  # noqa: B017 - whatever it raises
        Grid.around(None, "EPSG:32642", size_px=64)  # type: ignore[arg-type]
    error = refusal.value
    assert error.__traceback__ is not None
    assert place_of(error.with_traceback(error.__traceback__.tb_next)) is None


def test_it_is_one_sentence_and_not_to_be_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli._explain(own(tmp_path, "divide"))
    said = capsys.readouterr().err
    assert said.startswith("geocorpus: mine.py, line 6, ended with ZeroDivisionError: division by zero; mend it there")
    assert said.count("\n") == 1 and "report" not in said and end.value.code == 2
