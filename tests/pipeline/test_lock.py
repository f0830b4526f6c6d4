"""One writer at a time; the dead hold nothing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from pipeline import lock
from pipeline.errors import Fatal
from pipeline.lock import LOCK, Holder, locked

HOLDER = """
import sys, time
from pathlib import Path
from pipeline.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def holding(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "held\n"
    return process


def stop(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_the_second_is_refused_in_one_sentence_and_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    first = holding(tmp_path)
    try:
        with pytest.raises(Fatal, match=f"process {first.pid} on .* is working on") as error, locked(tmp_path):
            pass
        assert "\n" not in str(error.value)
        assert (tmp_path / LOCK).exists()
    finally:
        stop(first)
    assert (tmp_path / LOCK).exists(), "kill -9 leaves the file"
    with locked(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_without_a_kernel_lock_the_file_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "fcntl", None)
    first = holding(tmp_path)
    try:
        with pytest.raises(Fatal, match=f"process {first.pid}"), locked(tmp_path):
            pass
    finally:
        stop(first)
    with locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_number_given_to_another_process_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "fcntl", None)
    (tmp_path / LOCK).write_text(json.dumps(asdict(Holder(socket.gethostname(), os.getppid(), "1"))))
    if not Path("/proc/self/stat").exists():
        pytest.skip("start times are read from /proc")
    with locked(tmp_path):
        pass


def test_another_host_is_not_declared_dead(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text(json.dumps(asdict(Holder("elsewhere", 1, "1"))))
    with pytest.raises(Fatal, match="elsewhere.*delete"), locked(tmp_path):
        pass


@pytest.mark.parametrize("content", ["", "{", '{"pid": 1}'])
def test_a_file_that_was_cut_holds_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / LOCK).write_text(content)
    with locked(tmp_path):
        pass
    assert not (tmp_path / LOCK).exists()


def test_a_folder_that_nobody_wrote_to_is_not_left_behind(tmp_path: Path) -> None:
    with locked(tmp_path / "a" / "b"):
        pass
    assert not (tmp_path / "a").exists()
    with locked(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "kept").touch()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["kept"]


def test_whoever_takes_the_corpus_removes_what_a_killed_holder_had_begun(tmp_path: Path) -> None:
    left, training = tmp_path / f".statistics.json.{'ab' * 16}.tmp", tmp_path / "runs" / f".a.pt.{'ab' * 16}.tmp"
    training.parent.mkdir()
    for path in (left, training):
        path.touch()
    with locked(tmp_path):
        assert not left.exists() and training.exists()
