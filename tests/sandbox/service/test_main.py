"""The sandbox as a program: it prints where it is, answers, and stops when told or left alone."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from sandbox.service.faults import Fault
from sandbox.service.main import catalog_of, fault_of, why

ROOT = Path(__file__).resolve().parents[3]


def start(*options: str) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "sandbox", *options]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    match = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
    assert match is not None
    return process, match.group(0)


@pytest.mark.slow
def test_it_prints_its_address_answers_and_stops_on_sigterm():
    process, url = start("--seed", "3", "--fault", "value:compute/503=1")
    try:
        assert requests.get(f"{url}/sandbox/counters", timeout=10).json()["total"] == 0
        assert requests.post(f"{url}/v1/projects/p/value:compute", json={}, timeout=10).status_code == 503
    finally:
        process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0


@pytest.mark.slow
def test_it_stops_when_its_parent_goes():
    script = (
        "import subprocess, sys, os\n"
        "p = subprocess.Popen([sys.executable, '-m', 'sandbox', '--with-parent'], stdout=subprocess.PIPE, text=True)\n"
        "print(p.stdout.readline(), flush=True)\nprint(p.pid, flush=True)\nos._exit(0)\n"
    )
    parent = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    pid = int(parent.stdout.split()[-1])
    for _ in range(100):
        if not _alive(pid):
            return
        signal.sigtimedwait([], 0.1)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the sandbox outlived its parent")


@pytest.mark.slow
def test_it_stops_when_its_parent_went_before_it_was_ready():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    assert gone.wait(timeout=60) == 0
    process, _ = start("--with-parent", f"{gone.pid}")
    assert process.wait(timeout=60) == 0


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/status")
    return not (status.exists() and "State:\tZ" in status.read_text())


def test_a_missing_index_is_one_sentence():
    command = [sys.executable, "-m", "sandbox", "--rasters", "nowhere"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert process.returncode == 1
    assert process.stderr == "The sandbox cannot start: nowhere/index.toml: No such file or directory.\n"


def test_an_index_without_its_rasters_is_refused_as_nothing_of_it_would_be_served(tmp_path: Path):
    with pytest.raises(ValueError, match=r"say where its rasters are, with --rasters"):
        catalog_of(0, None, tmp_path / "index.toml")


def test_what_is_wrong_with_an_index_names_the_file(tmp_path: Path):
    broken, absent = tmp_path / "broken.toml", tmp_path / "absent.toml"
    broken.write_text("x = [")
    with pytest.raises(ValueError, match=r"broken\.toml is no TOML that can be read"):
        catalog_of(0, tmp_path, broken)
    with pytest.raises(FileNotFoundError) as caught:
        catalog_of(0, tmp_path, absent)
    assert why(caught.value) == f"{absent}: No such file or directory"


def said_about(port: str) -> str:
    command = [sys.executable, "-m", "sandbox", "--port", port]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert process.returncode != 0 and "Traceback" not in process.stderr
    return process.stderr.splitlines()[-1]


def test_a_port_that_is_taken_or_none_is_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        assert said_about(f"{taken}") == (
            f"The sandbox cannot start: it cannot listen at 127.0.0.1:{taken} (Address already in use); "
            "give another --port."
        )
    assert "'99999' is no port; give a number from 0 to 65535" in said_about("99999")


@pytest.mark.parametrize(
    ("text", "fault"),
    [("503", Fault("503", "*", 1.0)), ("slow=0.5", Fault("slow", "*", 0.5)),
     ("image:computePixels/memory=0.02", Fault("memory", "image:computePixels", 0.02))],
)  # fmt: skip
def test_faults_are_read_from_the_command_line(text, fault):
    assert fault_of(text) == fault
