"""The public names: what they are, what importing them costs, and what a missing extra says."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import geocorpus
from tests.extras import needs_torch

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("geocorpus", "pipeline", "sampling", "exporters", "training", "flows", "sandbox")
WITH_TORCH = {
    "finetune",
    "load_encoder",
    "load_finetuned",
    "pretrain",
    "probe",
    "save_encoder",
    "LazySamples",
    "Samples",
    "own_moments",
    "nearest_vectors",
}
LIGHT = sorted(set(geocorpus.__all__) - WITH_TORCH)
# A person's environment, in which nothing of ours was set before.
PLAIN = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""


def fresh(code: str, folder: Path, **environment: str) -> str:
    """What `code` prints in a process of its own, in an empty folder; it must end well."""
    outcome = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=PLAIN | environment, text=True, capture_output=True, timeout=240
    )
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def after(statements: str, folder: Path) -> dict[str, list[str]]:
    """What `statements` changed in the environment, and which of the heavy packages they imported."""
    code = (
        "import json, os, sys\nbefore = dict(os.environ)\n"
        f"{statements}\n"
        "print(json.dumps({'environment': sorted(set(os.environ.items()) ^ set(before.items())),"
        " 'modules': [name for name in ('torch', 'ee', 'prefect', 'zarr', 'pandas') if name in sys.modules]}))"
    )
    return dict(json.loads(fresh(code, folder)))


@pytest.mark.parametrize("statement", ["import geocorpus", "import flows", "import geocorpus; dir(geocorpus)"])
def test_an_import_changes_nothing_and_brings_nothing_heavy(statement: str, tmp_path: Path) -> None:
    assert after(statement, tmp_path) == {"environment": [], "modules": []}


def test_names_that_need_no_torch_bring_none_and_change_nothing(tmp_path: Path) -> None:
    result = after(f"import geocorpus\nfor name in {LIGHT}: getattr(geocorpus, name)", tmp_path)
    assert result["environment"] == []
    assert not {"torch", "prefect"} & set(result["modules"])


def test_nouns_bring_no_earth_engine(tmp_path: Path) -> None:
    result = after("from geocorpus import Chip, Corpus, Grid, Manifest, Modality, errors, open", tmp_path)
    assert not {"torch", "prefect", "ee"} & set(result["modules"])


@needs_torch
def test_every_name_is_what_type_checkers_are_told() -> None:
    tree = ast.parse((ROOT / "geocorpus" / "__init__.py").read_text())
    told = next(node for node in tree.body if isinstance(node, ast.If)).body
    homes = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in told if isinstance(node, ast.ImportFrom) for alias in node.names
    }  # fmt: skip
    assert sorted(homes) == sorted(geocorpus.__all__) and len(set(geocorpus.__all__)) == len(geocorpus.__all__)
    for name, (module, there) in homes.items():
        value = getattr(geocorpus, name)
        assert value is getattr(sys.modules[module], there, sys.modules.get(f"{module}.{there}")), name
        assert name in dir(geocorpus)


def test_a_name_that_there_is_not() -> None:
    with pytest.raises(AttributeError, match="geocorpus has no 'Corpsu'"):
        _ = geocorpus.Corpsu
    assert not hasattr(geocorpus, "nonsense")


@pytest.mark.parametrize("name", sorted(WITH_TORCH))
def test_without_torch_a_name_says_what_to_install(name: str, tmp_path: Path) -> None:
    code = WITHOUT.format(absent={"torch"}) + (
        "try:\n"
        f"    from geocorpus import {name}\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )  # fmt: skip
    assert fresh(code, tmp_path) == (
        f"geocorpus.{name} needs the package torch; install it with: pip install 'geocorpus[train]'.\n"
    )


def test_without_torch_the_rest_is_there(tmp_path: Path) -> None:
    code = WITHOUT.format(absent={"torch"}) + f"import geocorpus\nfor name in {LIGHT}: getattr(geocorpus, name)"
    assert fresh(code, tmp_path) == ""


def test_a_package_that_no_extra_has_is_a_defect_that_shows(tmp_path: Path) -> None:
    code = WITHOUT.format(absent={"pyproj"}) + (
        "import geocorpus\ntry:\n    geocorpus.Grid\nexcept ModuleNotFoundError as error:\n    print(error.name)\n"
    )
    assert fresh(code, tmp_path) == "pyproj\n"


def test_every_package_is_typed() -> None:
    assert all((ROOT / package / "py.typed").is_file() for package in PACKAGES)


def test_the_module_is_the_command(tmp_path: Path) -> None:
    def shown(*command: str) -> str:
        outcome = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, timeout=120)
        assert outcome.returncode == 0, outcome.stderr
        return " ".join(outcome.stdout.replace("python -m geocorpus", "geocorpus").split())

    commands = ("build", "pretrain", "sandbox")
    result = shown(sys.executable, "-m", "geocorpus", "--help")
    assert all(name in result for name in commands)
    assert result == shown(str(Path(sys.executable).parent / "geocorpus"), "--help")


def test_prefect_is_told_before_it_is_imported(tmp_path: Path) -> None:
    code = (
        "from flows.prefect_runs import orchestration\n"
        "from prefect.settings import get_current_settings\n"
        "import os\n"
        "settings = get_current_settings()\n"
        "print(settings.logging.level, settings.server.analytics_enabled, settings.home)\n"
        "print(os.environ['DO_NOT_TRACK'], os.environ['NO_PROXY'], os.environ['no_proxy'])"
    )
    home = tmp_path / "prefect"
    told = fresh(code, tmp_path, PREFECT_HOME=str(home), NO_PROXY="example.org")
    assert told.split() == [
        "CRITICAL",
        "False",
        str(home),
        "1",
        "example.org,127.0.0.1,localhost",
        "127.0.0.1,localhost",
    ]
