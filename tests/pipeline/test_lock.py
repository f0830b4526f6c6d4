"""One writer at a time; the dead hold nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from pipeline import durable, lock
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


ELSEWHERE = """
import socket, sys
from pathlib import Path
socket.gethostname = lambda: "elsewhere"
from pipeline import durable, lock
from pipeline.errors import Fatal
from pipeline.shard import Shard
from pipeline.spool import Spool
from pipeline.store import FolderStore
lock.BEAT_S = 0.05
folder = Path(sys.argv[1])
with lock.locked(folder):
    print("held", flush=True)
    sys.stdin.readline()
    for write in (
        lambda: durable.write_text(folder / "manifest.parquet", "old"),
        lambda: durable.write_checkable(folder / "manifest.parquet", [b"old"]),
        lambda: FolderStore(folder).put("manifest.parquet", b"old"),
        lambda: FolderStore(folder).delete("manifest.parquet"),
        lambda: Spool(folder / "spool").clear(Shard(0, 0, 1)),
    ):
        try:
            write()
            print("written", flush=True)
        except Fatal as error:
            print(error, flush=True)
"""


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds `tmp_path` and takes itself for one on another host."""
    command = [sys.executable, "-c", ELSEWHERE, str(tmp_path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "held\n"
    yield process
    stop(process)


def test_a_holder_elsewhere_that_gives_signs_of_life_keeps_the_corpus(
    tmp_path: Path, elsewhere: subprocess.Popen[str]
) -> None:
    said: list[str] = []
    with pytest.raises(Fatal, match=f"process {elsewhere.pid} on elsewhere is working"), locked(tmp_path, said.append):
        pass
    assert len(said) == 1 and "waiting up to 45 s for a sign of life" in said[0]


def test_the_kernel_lock_does_not_speak_for_another_host(
    tmp_path: Path, elsewhere: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor need there be one: the process below is silent, yet its kernel holds the lock."""
    os.kill(elsewhere.pid, signal.SIGSTOP)
    monkeypatch.setattr(lock, "SILENCE_S", 1.0)
    with locked(tmp_path):
        pass


def test_a_silent_holder_elsewhere_is_taken_over_and_finds_out_before_it_writes(
    tmp_path: Path, elsewhere: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "SILENCE_S", 1.0)
    (tmp_path / "manifest.parquet").write_text("new")
    (tmp_path / "spool" / "00000").mkdir(parents=True)
    os.kill(elsewhere.pid, signal.SIGSTOP)
    said: list[str] = []
    with locked(tmp_path, said.append):
        assert len(said) == 2 and "gave no sign of life" in said[1]
        ours = json.loads((tmp_path / LOCK).read_text())
        os.kill(elsewhere.pid, signal.SIGCONT)
        out, _ = elsewhere.communicate("write\n")
        refusals = out.splitlines()
        assert len(refusals) == 5
        assert all(f"process {os.getpid()} on" in line and "has taken over" in line for line in refusals), out
        assert (tmp_path / "manifest.parquet").read_text() == "new" and (tmp_path / "spool" / "00000").exists()
        now = json.loads((tmp_path / LOCK).read_text())
        assert now["token"] == ours["token"], "the former holder leaves our lock alone, also at its end"


def test_a_lock_that_was_removed_by_hand_ends_its_holder(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="was removed"), locked(tmp_path):
        (tmp_path / LOCK).unlink()
        durable.write_text(tmp_path / "manifest.parquet", "old")
    assert not (tmp_path / "manifest.parquet").exists()


def test_another_machine_of_the_same_name_is_another_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process ids mean nothing here."""
    monkeypatch.setattr(lock, "SILENCE_S", 1.0)
    twin = Holder(socket.gethostname(), 999999999, "1", "another boot")
    (tmp_path / LOCK).write_text(json.dumps(asdict(twin) | {"token": "t", "beat": "0"}))
    said: list[str] = []
    with locked(tmp_path, said.append):
        assert len(said) == 2


def test_without_second_names_of_files_the_lock_works_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    with locked(tmp_path):
        with pytest.raises(Fatal, match="is working on"), locked(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []
