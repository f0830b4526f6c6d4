"""Signals end a process in good order; a second one ends it at once."""

from __future__ import annotations

import contextlib
import copy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import stopping
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


DEFERRING = """
import sys, time
from pathlib import Path
from pipeline import stopping

stopping.install()
stopping._NOTICE_S = 0.01
with stopping.at_stop(lambda: print("released", flush=True)), stopping.deferring() as stop:
    print("works", flush=True)
    while not stop.asked:
        time.sleep(0.01)
    print("asked", stop.number, flush=True)
    sys.stdin.readline()
    print("done", flush=True)
print("never", flush=True)
"""


# A test runner in the background of a script has some of them ignored, and its children have what it has.
BY_DEFAULT = f"import signal\nfor number in {tuple(map(int, SIGNALS))}: signal.signal(number, signal.SIG_DFL)\n"


def working(folder: Path, how: str = "end", script: str = WORKING) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BY_DEFAULT + script, str(folder), how]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
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


@pytest.mark.parametrize("number", SIGNALS)
def test_work_is_done_before_a_signal_is_obeyed(tmp_path: Path, number: int) -> None:
    process = working(tmp_path, script=DEFERRING)
    process.send_signal(number)
    assert process.stdout and process.stdout.readline() == f"asked {int(number)}\n"
    out, errors = process.communicate("\n", timeout=60)
    assert (process.returncode, out) == (128 + number, "done\nreleased\n")
    assert errors.endswith("\ngeocorpus: stopped; run the same command again to go on.\n")
    assert errors.count("a second signal stops at once") <= 1


def test_a_second_signal_does_not_wait_for_the_work(tmp_path: Path) -> None:
    process = working(tmp_path, script=DEFERRING)
    process.send_signal(signal.SIGTERM)
    assert process.stdout and process.stdout.readline() == f"asked {int(signal.SIGTERM)}\n"
    assert process.stderr and process.stderr.readline() == "\n"
    assert process.stderr.readline() == (
        "geocorpus: stops as soon as this step is done and kept; a second signal stops at once.\n"
    )
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (128 + signal.SIGINT, "released\n")
    assert errors == "\ngeocorpus: stopped; run the same command again to go on.\n"


@pytest.fixture
def no_command() -> Iterator[None]:
    """Signals as Python has them: a command that another test ran in this process may have taken them for good."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("no_command")
def test_without_a_command_of_ours_the_signal_does_what_it_does() -> None:
    with pytest.raises(KeyboardInterrupt), stopping.deferring() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.number == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("no_command")
def test_inside_of_another_it_waits_for_both() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with pytest.raises(stopping.Stopped, match="run the same command again"), stopping.deferring() as outer:
            with pytest.raises(stopping.Stopped), stopping.deferring() as inner:
                signal.raise_signal(signal.SIGTERM)
                assert inner.asked and not outer.asked
            assert outer.asked and not seen
            with pytest.raises(stopping.Stopped), stopping.deferring() as later:
                assert later.asked, "what begins after it knows too"
        assert seen == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_in_another_thread_a_stop_waits_for_the_work() -> None:
    done: list[str] = []

    def work() -> None:
        with contextlib.suppress(stopping.Stopped), stopping.deferring() as stop:
            began.set()
            while not stop.asked:
                time.sleep(0.01)
            done.append("work")

    began = threading.Event()
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    began.wait()
    stopping._release_all()
    assert done == ["work"]


def test_it_can_be_sent_to_another_process() -> None:
    sent = copy.copy(stopping.Stopped(15))
    assert sent.number == 15 and str(sent) == str(stopping.Stopped(15))
