"""Two runs on one corpus: the second refuses; after a kill -9 the next takes over."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pipeline.lock import LOCK, locked
from tests.flows.jobs import geocorpus

pytestmark = pytest.mark.slow  # each starts the command line anew


@pytest.mark.parametrize("stage", ["sample", "export", "finalize"])
def test_a_second_run_refuses_in_one_sentence(tmp_path: Path, stage: str) -> None:
    with locked(tmp_path):
        outcome = geocorpus(stage, "demo", f"corpus.folder={tmp_path}", "source.url=http://127.0.0.1:9")
    assert outcome.returncode == 2
    (said,) = outcome.stderr.splitlines()
    assert f"process {os.getpid()} on" in said and "is working on" in said


def test_a_stale_lock_is_taken_over_and_goes(tmp_path: Path) -> None:
    points = tmp_path / "points.csv"
    points.write_text("lon,lat\n7.5,45.5\n-60.1,-3.2\n")
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / LOCK).write_text(json.dumps({"host": os.uname().nodename, "pid": 999999999, "started": "1"}))
    outcome = geocorpus("sample", "demo", f"corpus.folder={folder}", f"sampling.points={points}")
    assert outcome.returncode == 0, outcome.stderr
    assert not (folder / LOCK).exists()
