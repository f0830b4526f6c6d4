"""The command `doctor`, `--version` and shell completion, typed as a person does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.flows.jobs import ROOT, geocorpus

pytestmark = pytest.mark.slow  # each starts the command line anew


def test_the_version_is_one() -> None:
    outcome = geocorpus("--version")
    assert (outcome.returncode, outcome.stdout) == (0, f"geocorpus {version('geocorpus')}\n"), outcome
    cited = [line for line in (ROOT / "CITATION.cff").read_text().splitlines() if line.startswith("version:")]
    assert cited == [f"version: {version('geocorpus')}"]


def test_doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    outcome = geocorpus("doctor", "--json")
    assert outcome.returncode == 0, outcome
    assert json.loads(outcome.stdout)["checks"]["credentials"]["level"] == "note"
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "gone.json"))
    outcome = geocorpus("doctor")
    assert outcome.returncode == 1 and "problem  credentials" in outcome.stdout, outcome


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A `geocorpus` command on a path of its own, with a home folder of its own beside it."""
    command = shutil.which("geocorpus", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if command is None or shutil.which("bash") is None:
        pytest.skip("no installed command, or no bash")
    return Path(command)


def in_bash(script: str, command: Path, home: Path) -> str:
    environment = {**os.environ, "HOME": str(home), "PATH": f"{command.parent}:{os.environ['PATH']}"}
    run = subprocess.run(["bash", "-c", script], env=environment, cwd=home, capture_output=True, text=True)
    assert run.returncode == 0, run
    return run.stdout


COMPLETED = """
eval "$(%s)"
COMP_WORDS=(geocorpus %s) COMP_CWORD=%d
$(complete -p geocorpus | sed 's/.*-F \\([^ ]*\\).*/\\1/') geocorpus
printf '%%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("words", "at", "expected"), [("doc", 1, "doctor"), ("modality ch", 2, "check"), ("export --dr", 2, "--dry-run")]
)
def test_bash_completes(words: str, at: int, expected: str, installed: Path, tmp_path: Path) -> None:
    said = in_bash(COMPLETED % ("geocorpus --show-completion", words, at), installed, tmp_path)
    assert said.split() == [expected]


def test_bash_remembers_the_completion(installed: Path, tmp_path: Path) -> None:
    in_bash("geocorpus --install-completion; true", installed, tmp_path)
    assert in_bash(COMPLETED % ("cat .bashrc", "doc", 1), installed, tmp_path).split() == ["doctor"]
