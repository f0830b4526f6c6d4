"""A flow run that cannot work is refused before Prefect is loaded, which takes many times as long."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.jobs import ROOT

# The command line as it is, and whether it has loaded Prefect when it ends.
PROGRAM = """
import atexit, os, sys
atexit.register(lambda: os.write(1, b"prefect" if "prefect" in sys.modules else b"alone"))
from flows.terminal.cli import main
main()
"""


def refused(tmp_path: Path, *arguments: str) -> str:
    """The sentence of a command that ends with code 2, has loaded no Prefect and has written nothing."""
    known = {"HOME": str(tmp_path / "home"), "PREFECT_HOME": str(tmp_path / "prefect"), "COLUMNS": "200"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "GOOGLE"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], cwd=ROOT, env=environment | known, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stdout == "alone", "Prefect was loaded first"
    assert not (tmp_path / "prefect").exists() and not (tmp_path / "corpus").exists()
    return done.stderr


@pytest.mark.parametrize(
    "stage", [["build"], ["export", "--prefect"], ["anchor", "--prefect"], ["sample", "--prefect"]], ids=" ".join
)
def test_without_credentials(tmp_path: Path, stage: list[str]) -> None:
    name, *flag = stage
    said = refused(
        tmp_path, name, "mmearth", f"corpus.folder={tmp_path / 'corpus'}", "source.project=my-project", *flag
    )
    assert "there are no Earth Engine credentials on this machine" in said


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = refused(tmp_path, "build", "demo", f"corpus.folder={tmp_path / 'file' / 'corpus'}")
    assert "is not a folder that you may write to" in said


def test_with_a_scheduler_that_is_open_to_a_network(tmp_path: Path) -> None:
    said = refused(
        tmp_path, "build", "demo", f"corpus.folder={tmp_path / 'corpus'}", "cluster.kind=address",
        "cluster.address=tcp://10.0.0.1:8786",
    )  # fmt: skip
    assert "asks nobody for a certificate" in said
