"""The wheel as people get it: built, installed alone, and used in a folder that is full of packages of our names."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pipeline.corpus import Corpus
from tests.rivals import PACKAGES, command, rivals, run

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel"), pytest.mark.timeout(900)]
ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ("geocorpus", *PACKAGES)
BUNDLED = "flows/viewer/page/"  # what the script of the explorer is built from
SMALL = [
    "corpus.folder=c", "corpus.size_px=32", "corpus.shard_rows=4", "sampling.locations=6",
    "corpus.modalities=['esa_worldcover', 'biome']",
]  # fmt: skip


def checked(words: list[str], cwd: Path) -> None:
    done = run(words, cwd)
    assert done.returncode == 0, done.stdout + done.stderr


def uv() -> str | None:
    """The installer that does in seconds what pip does in minutes, where there is one."""
    return shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")


def sources() -> list[str]:
    """What a commit of the tree as it stands would hold: no build left over from before, no environment."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("the wheel is built from a git checkout")
    return sorted(name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, as building writes beside the sources."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for name in sources():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tree / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out), "."]
    faster = uv()
    checked([faster, "build", "--quiet", "--wheel", "--out-dir", str(out)] if faster else pip, tree)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of a new environment with the wheel and what it requires, and none of the extras."""
    folder = tmp_path_factory.mktemp("environment")
    interpreter = str(folder / "bin" / "python")
    faster = uv()
    if faster:
        checked([faster, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], folder.parent)
        checked([faster, "pip", "install", "--quiet", "--python", interpreter, str(wheel)], folder.parent)
    else:
        checked([sys.executable, "-m", "venv", str(folder)], folder.parent)
        checked([interpreter, "-m", "pip", "install", "--quiet", str(wheel)], folder.parent)
    return interpreter


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where somebody works who calls things as we do."""
    return rivals(tmp_path_factory.mktemp("working"))


def test_it_holds_the_packages_with_all_their_files_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if ".dist-info/" not in name} == {
        name for name in sources() if name.split("/")[0] in SHIPPED and not name.startswith(BUNDLED)
    }
    assert {name.rpartition(".")[2] for name in names} >= {"py", "toml", "json", "jinja"}


def test_the_stages_run_beside_packages_of_our_names(python: str, folder: Path) -> None:
    for stage in ("sample", "build"):
        done = command(stage, "demo", *SMALL, cwd=folder, python=python)
        assert done.returncode == 0, f"{stage}: {done.stderr}"
    corpus = Corpus.open(folder / "c")
    assert len(corpus.manifest) == 6 and corpus.missing() == {}
    done = command("status", "c", cwd=folder, python=python)
    assert done.returncode == 0 and "pretrain c" in done.stdout, done


def test_what_needs_torch_says_so(python: str, folder: Path) -> None:
    assert run([python, "-P", "-c", "import torch"], folder).returncode == 1
    for words in (["pretrain", "demo", *SMALL], ["demo", *SMALL]):
        done = command(*words, cwd=folder, python=python)
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done
        assert "needs PyTorch; install it with: pip install 'geocorpus[train]'." in done.stderr


def test_the_module_runs_there_and_the_import_names_the_folders(python: str, folder: Path) -> None:
    done = run([python, "-m", "geocorpus", "--version"], folder)
    assert done.returncode == 0 and done.stdout.startswith("geocorpus "), done.stderr
    done = run([python, "-c", "import geocorpus"], folder)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done
    assert all(f"the folder {folder}/{name}" in done.stderr for name in PACKAGES)


def test_pythonpath_is_named(python: str, folder: Path, tmp_path: Path) -> None:
    done = command("status", "c", cwd=tmp_path, python=python, PYTHONPATH=str(folder))
    assert done.returncode == 2 and f"take {folder} off PYTHONPATH" in done.stderr and done.stderr.count("\n") == 1


def test_it_imports_in_an_empty_folder(python: str, tmp_path: Path) -> None:
    checked([python, "-c", "import geocorpus"], tmp_path)
