"""The shape of the code: who imports whom, how long functions are, where a modality may be named."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = {
    "pipeline": set(),
    "sandbox": set(),
    "sampling": {"pipeline"},
    "exporters": {"pipeline"},
    "training": {"pipeline"},
    "flows": {"pipeline", "sampling", "exporters", "training", "sandbox"},
    "geocorpus": {"pipeline", "sampling", "exporters", "training", "flows"},
}
HOME = {"ee": "exporters", "torch": "training", "prefect": "flows"}
MODULES = sorted(path for package in ALLOWED for path in (ROOT / package).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Top-level names of everything a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield str(node.module).split(".")[0]


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or 0) - function.lineno + 1


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    names = set(imported(path))
    siblings = (names & set(ALLOWED)) - {package} - ALLOWED[package]
    assert not siblings, f"{path.relative_to(ROOT)} imports {siblings}"
    strangers = {name for name, home in HOME.items() if name in names and home != package}
    assert not strangers, f"{path.relative_to(ROOT)} imports {strangers}, which belong to another package"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is_for(path: Path) -> None:
    text = ast.get_docstring(ast.parse(path.read_text()))
    assert text, f"{path.relative_to(ROOT)} has no module docstring"


def test_functions_are_short() -> None:
    lengths = sorted(length(function) for path in MODULES for function in functions(path))
    median, ninetieth = lengths[len(lengths) // 2], lengths[len(lengths) * 9 // 10]
    assert median <= 12, f"median function length {median}"
    assert ninetieth <= 35, f"90th percentile of function length {ninetieth}"


def test_everything_is_annotated() -> None:
    bare = [
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}"
        for path in MODULES
        for function in functions(path)
        if function.returns is None and not function.name.startswith("__")
    ]
    assert not bare, bare


def modality_names() -> set[str]:
    """Names that the files in exporters/modalities give to modalities."""
    result = set()
    for path in (ROOT / "exporters" / "modalities").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Modality":
                result |= {
                    keyword.value.value
                    for keyword in node.keywords
                    if keyword.arg == "name" and isinstance(keyword.value, ast.Constant)
                }
    return {str(name) for name in result}


def test_no_consumer_names_a_modality() -> None:
    names = modality_names() - {"lat", "lon", "month", "biome"}  # ordinary words, and columns of a location
    assert len(names) >= 8, f"found only {sorted(names)}; has the way of declaring modalities changed?"
    offenders = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.value!r}"
        for path in MODULES
        if path.relative_to(ROOT).parts[0] != "sandbox" and "modalities" not in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in names
    ]
    assert not offenders, offenders
