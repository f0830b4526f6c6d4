"""Two runs on one corpus: the second refuses; after a kill -9 the next takes over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.lock import LOCK, locked
from tests.flows.jobs import ROOT, differences, geocorpus, run_stages, sandbox, snapshot

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


ON_HOST = """
import socket, sys
host = sys.argv[1]
socket.gethostname = lambda: host
from pipeline import lock
lock.BEAT_S, lock.SILENCE_S = 0.1, 3.0
sys.argv = ["geocorpus", *sys.argv[2:]]
from flows.terminal.cli import main
main()
"""


def on_host(host: str, *arguments: str) -> subprocess.Popen[str]:
    """A command that takes itself for one on this host, and does not wait long for signs of life."""
    command = [sys.executable, "-c", ON_HOST, host, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def test_a_run_on_another_host_that_stood_still_is_taken_over_and_ends_when_it_wakes_up(tmp_path: Path) -> None:
    """Stopped in the middle of its export, and going on after the other has finished all of it."""
    folder, whole = tmp_path / "c", tmp_path / "whole" / "c"
    with sandbox("--latency", "0.2") as url:
        settings = [f"source.url={url}", "source.concurrency=2", "corpus.size_px=16", "corpus.shard_rows=8",
                    "sampling.locations=40", "corpus.modalities=['esa_worldcover', 'lat']"]  # fmt: skip
        run_stages([*settings, f"corpus.folder={whole}"])
        run_stages([*settings, f"corpus.folder={folder}"], ("sample", "anchor"))
        first = on_host("node1", "export", "demo", *settings, f"corpus.folder={folder}")
        while not list((folder / "ledger").rglob("*.json")) and first.poll() is None:
            time.sleep(0.05)
        first.send_signal(signal.SIGSTOP)
        second = on_host("node2", "export", "demo", *settings, f"corpus.folder={folder}")
        _, said = second.communicate(timeout=200)
        assert second.returncode == 0, said
        assert f"process {first.pid} on node1 gave no sign of life" in said
        with locked(folder):
            first.send_signal(signal.SIGCONT)
            _, said = first.communicate(timeout=100)
            assert first.returncode == 2 and "Traceback" not in said
            assert "has taken over" in said.splitlines()[-1]
            assert (folder / LOCK).exists()
        run_stages([*settings, f"corpus.folder={folder}"], ("finalize",))
        assert differences(snapshot(folder), snapshot(whole)) == []
