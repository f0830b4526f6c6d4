"""Progress in lines, for logs and notebooks: a short one every few seconds, or JSON."""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import TextIO

from flows.progress.figures import lines, split_losses, texts
from flows.progress.losses import Losses
from pipeline.progress import Figure

LINE_EVERY_S = 5.0
_WIDTH = 110


class Lines:
    """One short line every few seconds; with `as_json` each is a JSON object with all figures."""

    def __init__(self, stream: TextIO | None = None, as_json: bool = False) -> None:
        self._stream = stream or sys.stderr
        self._line = self._json if as_json else self._text
        self._sentence = _json_sentence if as_json else str
        self._lock = threading.Lock()
        self._stage, self._total, self._done, self._printed, self._last = "", 0, 0, 0.0, ""
        self._figures: dict[str, Figure] = {}
        self._losses = Losses()

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
            self._losses = Losses()
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
            self._losses.add(split_losses(figures)[1])

    def say(self, sentence: str) -> None:
        """Print a line of its own."""
        with self._lock:
            print(self._sentence(sentence), file=self._stream, flush=True)

    def _print(self) -> None:
        self._printed, self._last = time.monotonic(), self._line()
        print(self._last, file=self._stream, flush=True)

    def _text(self) -> str:
        """The most important figures, as many as fit."""
        others, _ = split_losses(self._figures)
        summary = self._losses.summary()
        shown = [*texts(others)[:3], *([summary] if summary else []), *texts(others)[3:]]
        return lines([f"{self._stage}: {self._done}/{self._total}", *shown], _WIDTH)[0]

    def _json(self) -> str:
        return json.dumps({"stage": self._stage, "done": self._done, "total": self._total, **self._figures})


def _json_sentence(sentence: str) -> str:
    return json.dumps({"said": sentence})
