"""docs/architecture.md is about this code: its pictures are what the imports give, its trips name what is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import draw_architecture
import pytest
from code_map import importers_first, read_modules

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text()
CELLS = re.findall(r"^\|[^|]+\| (`[^|]+`) \|$", PAGE, re.MULTILINE)


def defined(path: Path) -> set[str]:
    """Functions and classes at the top of a file, and `Class.method`."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
    return names


def test_the_pictures_are_drawn_from_this_code() -> None:
    assert not draw_architecture.stale(), "run `python docs/draw_architecture.py`"


def test_the_trips_name_what_is_there() -> None:
    assert len(CELLS) > 30
    for cell in CELLS:
        path = None
        for quoted in re.findall(r"`([^`]+)`", cell):
            path = ROOT / quoted if "/" in quoted else path
            assert path is not None and path.exists(), quoted
            assert "/" in quoted or quoted in defined(path), f"{path.relative_to(ROOT)} has no {quoted}"


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A little house: two rooms in `training`, one file beside them, and `pipeline`."""
    write(tmp_path, "pipeline/__init__.py", '"""Nouns."""')
    write(tmp_path, "pipeline/grid.py", '"""A grid."""')
    write(tmp_path, "training/__init__.py", '"""Tensors: and more. Much more."""')
    write(tmp_path, "training/config.py", '"""Settings."""\nimport pipeline.grid')
    write(tmp_path, "training/data/__init__.py", '"""Batches."""')
    write(
        tmp_path, "training/data/order.py", '"""Order."""\nfrom training import config\nfrom pipeline.grid import Grid'
    )
    write(tmp_path, "training/model/__init__.py", '"""Nets."""')
    write(tmp_path, "training/model/net.py", '"""A net."""\ndef f():\n    from training.data.order import Order')
    write(tmp_path, "docs/architecture.md", "<!-- rooms of training -->\n<!-- end of training -->\n")
    return tmp_path


def test_imports_are_read_wherever_they_are(tree: Path) -> None:
    modules = read_modules(tree)
    assert modules["training.data.order"].imports == {"training.config", "pipeline.grid"}
    assert modules["training.model.net"].imports == {"training.data.order"}
    assert modules["training.*"].purpose == "Tensors: and more"


def test_a_picture_has_a_dot_for_each_import_between_rooms(tree: Path) -> None:
    drawn = draw_architecture.everything(tree)
    rooms = drawn[Path("docs/pictures/rooms-training.svg")]
    assert re.findall(r"<title>(.*?): \d", rooms) == [
        "training.data imports training",
        "training.model imports training.data",
    ]
    assert "circle {" in rooms and 'class="line circle"' not in rooms
    assert "training imports pipeline: 2 imports" in drawn[Path("docs/pictures/packages.svg")]
    assert "| `training/data/` | 1 | Batches |" in drawn[Path("docs/architecture.md")]


def test_a_circle_is_red(tree: Path) -> None:
    write(tree, "training/data/back.py", '"""Back."""\nimport training.model.net')
    assert 'class="line circle"' in draw_architecture.everything(tree)[Path("docs/pictures/rooms-training.svg")]


def test_what_changed_is_stale_until_it_is_drawn_again(tree: Path) -> None:
    for path, text in draw_architecture.everything(tree).items():
        write(tree, str(path), text)
    assert draw_architecture.stale(tree) == []
    write(tree, "training/model/more.py", '"""More."""\nimport training.config')
    assert Path("docs/pictures/rooms-training.svg") in draw_architecture.stale(tree)


def test_whoever_imports_comes_first() -> None:
    assert importers_first(["a", "b", "c"], {("c", "a"): 1, ("a", "b"): 1}) == ["c", "a", "b"]
    assert sorted(importers_first(["a", "b"], {("a", "b"): 1, ("b", "a"): 2})) == ["a", "b"]
