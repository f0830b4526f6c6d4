"""Progress on a terminal: a bar and a count for each stage, which are always there, and figures on lines below."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.table import Column
from rich.text import Text

from flows.progress.figures import lines, split_losses, texts
from flows.progress.losses import Losses
from pipeline.progress import Figure

_PER_S = 8
_INDENT = "  "
_MOST_LINES = 5  # of figures


class Bars:
    """A live bar per stage, and below them the figures of the last one. Use as a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        fixed = Column(no_wrap=True)
        self._rich = RichProgress(
            SpinnerColumn(table_column=fixed),
            TextColumn("[bold]{task.description:<8}", table_column=fixed),
            BarColumn(16, table_column=Column(min_width=8)),
            MofNCompleteColumn(table_column=fixed),
            TimeElapsedColumn(table_column=fixed),
            auto_refresh=False,
        )
        self._console = console or Console(stderr=True)
        self._live = Live(self, console=self._console, refresh_per_second=_PER_S)
        self._task: TaskID | None = None
        self._figures: dict[str, Figure] = {}
        self._losses = Losses()

    def __enter__(self) -> Bars:
        self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The bars first: where there is no room for all, figures are what is left out."""
        yield self._rich.get_renderable()
        width = options.max_width - len(_INDENT)
        below = [*lines(texts(self._figures), width)[:_MOST_LINES], *self._losses.table(width)]
        for line in below:
            yield Text(f"{_INDENT}{line}", style="dim", no_wrap=True, overflow="ellipsis")

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """Begin a new bar."""
        self._figures, self._losses = {}, Losses()
        self._task = self._rich.add_task(stage, total=total, completed=done)

    def advance(self, count: int = 1) -> None:
        """Move the current bar."""
        if self._task is not None:
            self._rich.advance(self._task, count)

    def note(self, **figures: Figure) -> None:
        """Show figures below the bars; losses of layers are a table."""
        others, losses = split_losses(figures)
        self._figures = self._figures | others
        self._losses.add(losses)

    def say(self, sentence: str) -> None:
        """Print above the bars."""
        self._console.print(sentence, highlight=False)
