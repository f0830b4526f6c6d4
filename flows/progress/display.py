"""Progress on standard error: bars on a terminal, a line every few seconds in a log, or JSON lines."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Mapping
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.table import Column

from pipeline.progress import Figure, duration

LINE_EVERY_S = 5.0


def figures_text(figures: Mapping[str, Figure]) -> str:
    """Figures in one line of text."""
    return "  ".join(_figure(name, value) for name, value in figures.items())


def _figure(name: str, value: Figure) -> str:
    if name == "left_s":
        return f"left {duration(float(value))}"
    short = value if isinstance(value, str) else f"{value:.3g}" if isinstance(value, float) else f"{value:,}"
    return f"{name.replace('_', ' ')} {short}"


class Bars:
    """A live bar per stage on a terminal. Use as a context manager."""

    def __init__(self) -> None:
        fixed = Column(no_wrap=True, min_width=7)
        self._rich = RichProgress(
            SpinnerColumn(),
            TextColumn("[bold]{task.description:<8}"),
            BarColumn(16),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TimeElapsedColumn(table_column=fixed),
            TimeRemainingColumn(table_column=fixed),
            TextColumn("[dim]{task.fields[figures]}", table_column=Column(no_wrap=True, overflow="ellipsis")),
            console=Console(stderr=True),
        )
        self._task: TaskID | None = None
        self._figures: dict[str, Figure] = {}

    def __enter__(self) -> Bars:
        self._rich.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._rich.stop()

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """Begin a new bar."""
        self._figures = {}
        self._task = self._rich.add_task(stage, total=total, completed=done, figures="")

    def advance(self, count: int = 1) -> None:
        """Move the current bar."""
        if self._task is not None:
            self._rich.advance(self._task, count)

    def note(self, **figures: Figure) -> None:
        """Show figures behind the current bar."""
        self._figures |= figures
        if self._task is not None:
            self._rich.update(self._task, figures=figures_text(self._figures))

    def say(self, sentence: str) -> None:
        """Print above the bars."""
        self._rich.console.print(sentence, highlight=False)


class Lines:
    """One line every few seconds, for logs; with `as_json` each line is a JSON object."""

    def __init__(self, stream: TextIO | None = None, as_json: bool = False) -> None:
        self._stream = stream or sys.stderr
        self._line = self._json if as_json else self._text
        self._sentence = _json_sentence if as_json else str
        self._lock = threading.Lock()
        self._stage, self._total, self._done, self._printed, self._last = "", 0, 0, 0.0, ""
        self._figures: dict[str, Figure] = {}

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        """Print a last line, so that a run that stops early shows how far it got."""
        with self._lock:
            if self._stage and self._line() != self._last:
                self._print()

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """Begin a stage."""
        with self._lock:
            self._stage, self._total, self._done, self._figures = stage, total, done, {}
            self._print()

    def advance(self, count: int = 1) -> None:
        """Count, and print a line if the last one is old or all is done."""
        with self._lock:
            self._done += count
            if time.monotonic() - self._printed > LINE_EVERY_S or self._done == self._total:
                self._print()

    def note(self, **figures: Figure) -> None:
        """Store figures for the next line."""
        with self._lock:
            self._figures |= figures

    def say(self, sentence: str) -> None:
        """Print a line of its own."""
        with self._lock:
            print(self._sentence(sentence), file=self._stream, flush=True)

    def _print(self) -> None:
        self._printed, self._last = time.monotonic(), self._line()
        print(self._last, file=self._stream, flush=True)

    def _text(self) -> str:
        return f"{self._stage}: {self._done}/{self._total}  {figures_text(self._figures)}".rstrip()

    def _json(self) -> str:
        return json.dumps({"stage": self._stage, "done": self._done, "total": self._total, **self._figures})


def _json_sentence(sentence: str) -> str:
    return json.dumps({"said": sentence})


def display(as_json: bool = False) -> Bars | Lines:
    """The display that suits standard error: bars on a terminal, lines elsewhere."""
    if as_json:
        return Lines(as_json=True)
    return Bars() if sys.stderr.isatty() else Lines()
