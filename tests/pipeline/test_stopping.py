"""Signals end a process in good order; a second one ends it at once."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.stopping import SIGNALS

WORKING = """
import sys, threading
from contextlib import nullcontext
from pathlib import Path
from pipeline import stopping
from pipeline.lock import locked

stopping.install()
busy = threading.Lock()
order = []

def last():
    print(*order, "last", flush=True)

def hang():
    print("hangs", flush=True)
    threading.Event().wait()

keeping = stopping.keeping_nothing() if sys.argv[2] == "anew" else nullcontext()
hanging = sys.argv[2] == "hang"
with stopping.at_stop(last), stopping.at_stop(lambda: order.append("first")), locked(Path(sys.argv[1])), busy, keeping:
    with stopping.at_stop(hang if hanging else lambda: busy.acquire(blocking=False)):
        print("works", flush=True)
        threading.Event().wait()
"""


# A test runner in the background of a script has some of them ignored, and its children have what it has.
BY_DEFAULT = f"import signal\nfor number in {tuple(map(int, SIGNALS))}: signal.signal(number, signal.SIG_DFL)\n"


def working(folder: Path, how: str = "end") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BY_DEFAULT + WORKING, str(folder), how]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "works\n"
    return process


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_releases_everything_and_says_one_sentence(tmp_path: Path, number: int) -> None:
    process = working(tmp_path / "corpus")
    process.send_signal(number)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert errors.split("\n") == ["", "geocorpus: stopped; run the same command again to go on.", ""]
    assert out == "first last\n", "what was registered last is released first"
    assert list(tmp_path.iterdir()) == [], "neither the lock nor the folder made for it is left"


def test_a_command_that_keeps_nothing_promises_no_going_on(tmp_path: Path) -> None:
    process = working(tmp_path / "corpus", "anew")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert errors == "\ngeocorpus: stopped; nothing was kept, and the same command starts anew.\n"


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    process = working(tmp_path / "corpus", "hang")
    process.send_signal(signal.SIGTERM)
    assert process.stdout and process.stdout.readline() == "hangs\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT and errors == ""


def test_nohup_is_obeyed(tmp_path: Path) -> None:
    command = ["nohup", sys.executable, "-c", WORKING, str(tmp_path / "corpus"), "end"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "works\n"
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
