"""Which room imports which, within a package, a file beside the rooms counting as one; and no circle of files."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Room: the rooms of its own package that it may import. Those that are not named may import none.
ALLOWED: dict[str, dict[str, str]] = {
    "exporters": {
        "expressions": "sources",
        "modalities": "expressions scenes sources",
        "catalog": "modalities sources",
        "anchor": "earth_engine expressions scenes threads",
        "pull": "earth_engine quality sources threads",
        "report": "quality",
    },
    "training": {
        "layer": "standardiser",
        "config": "architecture",
        "data": "batch config layer rank_slice",
        "model": "architecture batch layer standardiser",
        "runtime": "batch config rank_slice",
        "methods": "architecture batch config layer model runtime",
        "weights": "architecture config model",
        "evaluate": "architecture data layer model schedule weights",
        "pretrain": "batch config data layer methods model rank_slice runtime schedule weights",
    },
    "flows": {
        "settings": "finetune_task",
        "sampling_plan": "settings",
        "sandbox_process": "settings",
        "finetuning": "extras finetune_task settings",
        "probing": "extras",
        "cluster": "extras settings",
        "stages": "cluster extras preflight sampling_plan sandbox_process settings",
        "commands": "finetuning settings stages",
        "prefect_runs": "commands offline progress settings stages",
        "terminal": (
            "commands doctor extras finetuning offline prefect_runs probing progress sampling_plan settings stages verify"
        ),
    },
    "sandbox": {
        "profiles": "errors registry",
        "raster": "errors",
        "planet": "raster",
        "functions": "errors profiles raster registry",
        "catalogues": "functions raster",
        "evaluate": "client_files errors functions raster registry",
        "service": "catalogues client_files errors evaluate functions planet profiles raster",
        "__main__": "service",
    },
}
CHECKED = ("pipeline", "sampling", "exporters", "training", "flows", "sandbox")


@cache
def modules() -> dict[str, Path]:
    """Every module by its dotted name."""
    paths = [path for package in CHECKED for path in (ROOT / package).rglob("*.py")]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


@cache
def imports() -> dict[str, set[str]]:
    """What each module imports of ours, wherever in the file: inside of a function, too."""
    return {name: set(_imported(path)) - {name} for name, path in modules().items()}


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules())
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            targets = {name if name in modules() else str(node.module) for name in names}
            yield from targets & modules().keys()


def room(module: str) -> str:
    """A sub-package, or a file that lies beside them."""
    return module.split(".")[1]


def rooms(package: str) -> dict[str, set[str]]:
    """The rooms that each room of a package imports."""
    edges: dict[str, set[str]] = {}
    for name, targets in imports().items():
        if name.startswith(f"{package}."):
            own = {room(target) for target in targets if target.startswith(f"{package}.")}
            edges.setdefault(room(name), set()).update(own - {room(name)})
    return edges


def circle(edges: Mapping[str, set[str]]) -> list[str]:
    """One circle of imports, or none."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circle(imports()) == []


@pytest.mark.parametrize("package", ALLOWED)
def test_rooms_import_what_the_table_allows(package: str) -> None:
    allowed = {name: set(names.split()) for name, names in ALLOWED[package].items()}
    wrong = {name: sorted(more) for name, seen in rooms(package).items() if (more := seen - allowed.get(name, set()))}
    assert not wrong, wrong
    assert circle(allowed) == [], "the table itself"
    stale = {name: sorted(less) for name, may in allowed.items() if (less := may - rooms(package).get(name, set()))}
    assert not stale, f"the table allows what nobody uses: {stale}"
