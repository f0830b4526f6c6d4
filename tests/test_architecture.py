"""The shape of the code: who may import whom, how long functions are, where a modality may be named."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Package: the packages that it may import beside itself. `geocorpus` is the door: nothing imports it.
PACKAGES = {
    "pipeline": "",
    "sandbox": "",
    "sampling": "pipeline",
    "exporters": "pipeline",
    "training": "pipeline",
    "flows": "pipeline sampling exporters training sandbox",
    "geocorpus": "pipeline sampling exporters training flows sandbox",
}

# Room: the rooms of its package that it may import. A file beside the rooms counts as one; who is not named may import
# none; `pipeline` and `sampling` are flat.
ROOMS: dict[str, dict[str, str]] = {
    "exporters": {
        "sources": "origin",
        "expressions": "origin sources",
        "modalities": "expressions origin scenes sources",
        "catalog": "modalities sources",
        "skeleton": "catalog",
        "anchor": "catalog earth_engine expressions scenes sources threads",
        "files": "sources",
        "formats": "",
        "pull": "earth_engine formats quality sources threads",
        "live": "earth_engine files origin pull sources",
        "publication": "formats",
        "report": "quality",
    },
    "training": {
        "layer": "standardiser",
        "config": "architecture",
        "data": "batch config layer rank_slice",
        "model": "architecture batch layer standardiser",
        "runtime": "batch config rank_slice",
        "sample": "batch",
        "pretext": "architecture batch config layer model",
        "method": "config layer pretext runtime sample",
        "methods": "architecture batch config layer method model pretext runtime sample words",
        "weights": "architecture config model",
        "evaluate": "architecture batch data layer model schedule standardiser weights",
        "pretrain": "batch config data layer method methods model pretext rank_slice runtime sample schedule weights "
        "words",
    },
    "flows": {
        "finetune_task": "data_options",
        "benchmarks": "closing data_options extras finetune_task",
        "settings": "finetune_task",
        "sampling_plan": "region_file settings",
        "growth": "settings",
        "own_columns": "growth",
        "file_source": "closing growth sampling_plan settings",
        "sandbox_process": "settings",
        "exchange": "closing settings stages",
        "live_check": "doctor",
        "preflight": "closing live_check",
        "finetuning": "benchmarks closing extras finetune_task settings",
        "probing": "extras owning_corpus",
        "fewshot": "extras",
        "predicted": "map_layers",
        "mapping": "embedding_source exchange extras finetuning map_layers owning_corpus predicted",
        "area": "extras map_layers mapping predicted",
        "embedding_source": "owning_corpus",
        "embedding": "embedding_source exchange extras",
        "searching": "extras",
        "search_pictures": "searching",
        "publishing": "settings",
        "verify": "settings",
        "viewer": "loss_words progress searching",
        "merging": "settings",
        "cluster": "extras settings",
        "stages": "closing cluster extras file_source growth loss_words own_columns preflight sampling_plan "
        "sandbox_process settings",
        "access": "cluster settings stages",
        "commands": "finetuning settings stages",
        "sensor_demo": "closing embedding fewshot settings stages",
        "prefect_runs": "commands offline progress sensor_demo settings stages",
        "terminal": "access area benchmarks closing commands doctor embedded_corpus embedding embedding_source "
        "exchange extras fewshot file_source finetuning found_file growth image_query live_check mapping merging "
        "offline prefect_runs probing progress publishing sampling_plan search_pictures searching "
        "settings stages upgrade verify viewer",
    },
    "sandbox": {
        "profiles": "errors registry",
        "raster": "errors",
        "planet": "raster",
        "functions": "errors limits profiles raster registry",
        "catalogues": "functions raster",
        "programs": "errors functions limits raster",
        "evaluate": "client_files errors functions limits programs raster registry",
        "service": "catalogues client_files errors evaluate functions limits planet profiles programs raster",
        "__main__": "service",
    },
}

# Libraries that one package alone may import.
HOME = {"ee": "exporters", "torch": "training", "prefect": "flows"}
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def by_name() -> dict[str, Path]:
    """Every module by its dotted name."""
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in MODULES}


@cache
def imports() -> dict[str, set[str]]:
    """What each module imports, wherever in the file: modules of ours by dotted name, others as they are written."""
    return {name: set(_imported(path)) - {name} for name, path in by_name().items()}


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from {name if name in by_name() else str(node.module) for name in names}


def package(module: str) -> str:
    return module.split(".")[0]


def room(module: str) -> str:
    """A sub-package, or a file that lies beside them."""
    return module.split(".")[1]


def rooms(of: str) -> dict[str, set[str]]:
    """The rooms that each room of a package imports."""
    edges: dict[str, set[str]] = {}
    for name, targets in imports().items():
        if name.startswith(f"{of}."):
            own = {room(target) for target in targets if target.startswith(f"{of}.")}
            edges.setdefault(room(name), set()).update(own - {room(name)})
    return edges


def circle(edges: Mapping[str, set[str]]) -> list[str]:
    """One circle of imports, or none."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_packages_import_one_way() -> None:
    wrong = {
        name: sorted(more)
        for name, targets in imports().items()
        if (more := {package(target) for target in targets} & set(PACKAGES) - allowed_packages(name))
    }
    assert not wrong, wrong


def allowed_packages(module: str) -> set[str]:
    return {package(module), *PACKAGES[package(module)].split()}


def test_a_library_stays_where_it_is_at_home() -> None:
    strangers = {
        name: sorted(more)
        for name, targets in imports().items()
        if (more := {top for top in map(package, targets) if HOME.get(top, package(name)) != package(name)})
    }
    assert not strangers, strangers


@pytest.mark.parametrize("of", ROOMS)
def test_rooms_import_what_the_table_allows(of: str) -> None:
    allowed = {name: set(names.split()) for name, names in ROOMS[of].items()}
    wrong = {name: sorted(more) for name, seen in rooms(of).items() if (more := seen - allowed.get(name, set()))}
    assert not wrong, wrong
    assert circle(allowed) == [], "the table itself"
    stale = {name: sorted(less) for name, may in allowed.items() if (less := may - rooms(of).get(name, set()))}
    assert not stale, f"the table allows what nobody uses: {stale}"


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circle({name: targets & by_name().keys() for name, targets in imports().items()}) == []


def test_pipeline_and_sampling_are_flat() -> None:
    assert not [path for path in MODULES if path.relative_to(ROOT).parts[0] in ("pipeline", "sampling")
                and len(path.relative_to(ROOT).parts) > 2]  # fmt: skip


def test_every_module_says_what_it_is_for() -> None:
    silent = [str(path.relative_to(ROOT)) for path in MODULES if not ast.get_docstring(tree(path))]
    assert not silent, silent


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_functions_are_short() -> None:
    lengths = sorted(
        (function.end_lineno or 0) - function.lineno + 1 for path in MODULES for function in functions(path)
    )
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
    for path in (ROOT / "exporters" / "modalities").rglob("*.py"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Modality":
                result |= {
                    keyword.value.value
                    for keyword in node.keywords
                    if keyword.arg == "name" and isinstance(keyword.value, ast.Constant)
                }
    return {str(name) for name in result}


# What names datasets of a published format, which our layers are called after.
PUBLISHED_NAMES = {"exporters/formats/mmearth_v001/datasets.py"}


def test_no_consumer_names_a_modality() -> None:
    names = modality_names() - {"lat", "lon", "month", "biome"}  # ordinary words, and columns of a location
    assert len(names) >= 8, f"found only {sorted(names)}; has the way of declaring modalities changed?"
    offenders = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.value!r}"
        for path in MODULES
        if path.relative_to(ROOT).parts[0] != "sandbox"
        and "modalities" not in path.parts
        and path.relative_to(ROOT).as_posix() not in PUBLISHED_NAMES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and node.value in names
    ]
    assert not offenders, offenders
