"""Bars in a real pseudo-terminal: at any width the bar and the count stay, and figures wrap to lines of their own."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from subprocess import Popen

import numpy as np
import pytest

from flows.progress.losses import FALLS, RISES, STAYS, UNKNOWN, Losses
from pipeline.interpreter import safe_environment

# What a run tells: first an export, then a training of fifteen layers of which all but two fall.
_RUN = """
from flows.progress.display import display
with display() as progress:
    progress.start("export", 1_200_000, 64)
    progress.note(left_s=7500.0, chips_per_s=7.02, requests_per_chip=1.013, eecu_hours=0.0123, requests=1234567,
                  retries=12, refused=3, at_once=20, megabytes=89.4, errors="2 timed out, 1 server error")
    progress.advance(1000)
    progress.say("a sentence that stays")
    {more}
"""
_TRAINING = """
    progress.start("pretrain", 100)
    for step in range(20):
        values = {f"loss_a_layer_{index}": (step if index in (3, 7) else -step) + 100.0 for index in range(15)}
        progress.note(loss=3.25, lr=0.001, left_s=61.0, samples_per_s=99.5, data_wait_share="0.1%", **values)
        progress.advance(1)
"""
_STEP = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|(\r\n|\r|\n)|([^\x1b\r\n]+)")


def screen(more: str, columns: int, rows: int = 40) -> list[str]:
    """What stands on a terminal of that size at the end of a run."""
    mine, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environment = {name: value for name, value in safe_environment().items() if name not in ("COLUMNS", "LINES")}
    command = [sys.executable, "-c", _RUN.format(more=more)]
    process = Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment | {"TERM": "xterm-256color"})
    os.close(theirs)
    written = _all_of(mine)
    assert process.wait() == 0, written
    return _drawn(written, columns)


def _drawn(written: str, columns: int) -> list[str]:
    """The lines that a terminal shows: it knows new lines, returns, the cursor going up, and erased lines."""
    lines, row = [""], 0
    for code, kind, end, text in _STEP.findall(written):
        if kind == "A":
            row -= int(code or 1)
        elif kind == "K" or end == "\r":
            lines[row] = "" if kind == "K" else lines[row]
        elif end:
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif text:
            lines[row] += text
            assert len(lines[row]) <= columns, lines[row]
    return lines


def _all_of(descriptor: int) -> str:
    parts = []
    while True:
        try:
            part = os.read(descriptor, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        parts.append(part)
    os.close(descriptor)
    return b"".join(parts).decode()


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_the_bar_and_the_count_never_go(columns: int) -> None:
    last = screen("pass", columns)
    bar = next(line for line in last if "export" in line)
    assert "1064/1200000" in bar and "━━━━━━━━" in bar and "…" not in bar
    figures = last[last.index(bar) + 1 :]
    assert figures[0].strip().startswith("left 2 h 5 min  chips per s 7.02")
    assert "at once 20" in " ".join(figures) and "requests 1,234,567" in " ".join(figures)
    assert any("a sentence that stays" in line for line in last)


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_losses_are_a_table_with_arrows(columns: int) -> None:
    last = screen(_TRAINING.strip(), columns)
    text = "\n".join(last)
    assert "20/100" in text and text.count(FALLS) == 13 and text.count(RISES) == 2
    assert len(re.findall(r"a_layer_\d+ +[\d.]+ [↓↑]", text)) == 15


def test_in_a_low_window_figures_go_and_bars_stay() -> None:
    last = screen(_TRAINING.strip(), 60, rows=6)
    assert any("20/100" in line for line in last)


def test_arrows_tell_noise_from_a_fall() -> None:
    draws, losses = np.random.default_rng(0), Losses()
    for step in range(20):
        noise = float(draws.standard_normal())
        losses.add({"falls": 10 - step + noise, "stays": 10 + noise, "rises": step + noise, "flat": 1.0})
        if step < 3:
            assert losses.arrow("falls") == UNKNOWN
    losses.add({"falls": float("nan")})
    arrows = {name: losses.arrow(name) for name in losses.values}
    assert arrows == {"falls": FALLS, "stays": STAYS, "rises": RISES, "flat": STAYS}
    assert losses.summary() == "1 of 4 losses fall now"


def test_numbers_of_a_table_have_three_digits() -> None:
    losses = Losses()
    losses.add({"a": 2.0, "b": 0.5678, "c": 123.0, "d": 12.0, "e": 1e-7, "f": 4.5e9})
    found = [line.split()[1] for line in losses.table(20)]
    assert found == ["2.00", "0.568", "123", "12.0", "1.00e-07", "4.50e+09"]
