"""Progress in a notebook: one output of the cell that is written over, and whose last state the notebook keeps."""

from __future__ import annotations

import textwrap
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from flows.progress.figures import lines, split_losses, texts
from flows.progress.losses import Losses
from pipeline.progress import Figure, duration

Update = Callable[[str], None]  # writes over what is shown

_EVERY_S = 0.5
_WIDTH = 78  # of a cell in a window of half a screen
_BAR = 20
_NAME = 8  # characters
_FIGURE_LINES, _SENTENCES = 3, 12
_OVER = ("left_s", "eta")  # figures that say nothing any more when a stage is over


class Cell:
    """A bar for each stage with its figures below, and the last sentences, as plain text. Use as a context manager.

    `show` puts a text below the cell and returns what writes over it. Nothing is shown before there is something.
    """

    def __init__(self, show: Callable[[str], Update] | None = None) -> None:
        self._show = show or _show_in_notebook
        self._update: Update | None = None
        self._stages: list[_Stage] = []
        self._sentences: list[str] = []
        self._lock, self._ended, self._shown = threading.RLock(), threading.Event(), ""
        self._painter = threading.Thread(target=self._paint_repeatedly, daemon=True)

    def __enter__(self) -> Cell:
        self._painter.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last state, also of a run that stopped early."""
        self._ended.set()
        self._painter.join()
        with self._lock:
            self._end_stage()
            self._paint()

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """Begin a stage below the others."""
        with self._lock:
            self._end_stage()
            self._stages.append(_Stage(stage, total, done))
            self._paint()

    def advance(self, count: int = 1) -> None:
        """Count; what is shown follows by itself, twice a second."""
        with self._lock:
            if self._stages:
                self._stages[-1].done += count

    def note(self, **figures: Figure) -> None:
        """Show figures below the bar of the stage; losses of layers are a table."""
        with self._lock:
            if self._stages:
                self._stages[-1].note(figures)

    def say(self, sentence: str) -> None:
        """Keep a sentence below the bars."""
        with self._lock:
            self._sentences.append(sentence)
            self._paint()

    def _end_stage(self) -> None:
        if self._stages:
            self._stages[-1].end()

    def _paint_repeatedly(self) -> None:
        while not self._ended.wait(_EVERY_S):
            with self._lock:
                self._paint()

    def _paint(self) -> None:
        """Show what there is, if it is not shown already."""
        text = self._text()
        if text in ("", self._shown):
            return
        self._shown = text
        if self._update is None:
            self._update = self._show(text)
        else:
            self._update(text)

    def _text(self) -> str:
        room = max((len(stage.name) for stage in self._stages), default=0)
        bars = [line for stage in self._stages for line in stage.lines(room)]
        earlier = len(self._sentences) - _SENTENCES
        left_out = [f"({earlier} earlier sentences are not shown)"] if earlier > 0 else []
        said = [line for item in self._sentences[-_SENTENCES:] for line in _wrapped(item)]
        return "\n".join([*bars, *left_out, *said])


@dataclass
class _Stage:
    name: str
    total: int
    done: int
    began_s: float = field(default_factory=time.monotonic)
    took_s: float | None = None
    figures: dict[str, Figure] = field(default_factory=dict)
    losses: Losses = field(default_factory=Losses)

    def note(self, figures: dict[str, Figure]) -> None:
        others, losses = split_losses(figures)
        self.figures |= others
        self.losses.add(losses)

    def end(self) -> None:
        if self.took_s is None:
            self.took_s = time.monotonic() - self.began_s

    def lines(self, room: int) -> list[str]:
        """The bar behind a name as wide as `room`, figures, and losses as a table; a stage that is over has less."""
        over = self.took_s is not None
        shown = {name: value for name, value in self.figures.items() if not (over and name in _OVER)}
        below = [*lines(texts(shown), _WIDTH - 2)[: 1 if over else _FIGURE_LINES], *self.losses.table(_WIDTH - 2)]
        return [self._bar(room), *(f"  {line}" for line in below)]

    def _bar(self, room: int) -> str:
        seconds = time.monotonic() - self.began_s if self.took_s is None else self.took_s
        filled = min(_BAR, _BAR * self.done // self.total) if self.total else _BAR
        bar = "█" * filled + "░" * (_BAR - filled)
        return f"{self.name:<{max(room, _NAME)}}  {bar}  {self.done:,} of {self.total:,}  {duration(seconds)}"


def _wrapped(sentence: str) -> list[str]:
    return textwrap.wrap(sentence, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _show_in_notebook(text: str) -> Update:
    from IPython.display import display

    shown = display({"text/plain": text}, raw=True, display_id=True)
    return lambda newer: shown.update({"text/plain": newer}, raw=True)
