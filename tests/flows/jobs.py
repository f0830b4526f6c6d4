"""Runs the stages as a person would, in processes of their own, against a sandbox that outlives them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
STAGES = ("sample", "anchor", "export", "finalize")
# Everything a report or a crash could disagree on; `runs/` has clocks in it, and a crashed run costs more.
IGNORED = ("runs", "usage.json")


@contextmanager
def sandbox(*options: str) -> Iterator[str]:
    """A sandbox process on a free port; yields its URL."""
    command = [sys.executable, "-m", "sandbox", "--port", "0", "--with-parent", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        url = next(result.group() for line in process.stdout if (result := re.search(r"http://127\.0\.0\.1:\d+", line)))
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


def counters(url: str) -> dict[str, Any]:
    """What the sandbox was asked so far."""
    with urllib.request.urlopen(f"{url}/sandbox/counters") as response:
        return dict(json.load(response))


def reset(url: str) -> None:
    """Start counting anew."""
    urllib.request.urlopen(urllib.request.Request(f"{url}/sandbox/reset", method="POST")).close()


def start(*arguments: str, group: bool = False, **environment: str) -> subprocess.Popen[str]:
    """`python -m flows.terminal.cli ARGUMENTS`, running; in a process group of its own if asked."""
    return subprocess.Popen(
        [sys.executable, "-m", "flows.terminal.cli", *arguments],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=group,
        env={**os.environ, "COLUMNS": "200", **environment},
    )  # fmt: skip


def geocorpus(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line's outcome."""
    process = start(*arguments)
    out, err = process.communicate(timeout=600)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def run_stages(overrides: Sequence[str], stages: Sequence[str] = STAGES) -> None:
    """Run stages one after the other; each must succeed."""
    for stage in stages:
        outcome = geocorpus(stage, "demo", *overrides)
        assert outcome.returncode == 0, f"{stage}: {outcome.stderr}"


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file of a corpus folder, save what has clocks or its own path in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in IGNORED and path.name != "config.toml"
    }


def differences(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    """Names of files that are not the same in both."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
