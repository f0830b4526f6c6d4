"""A run's progress, shown here, and kept in its corpus folder so that `geocorpus status` sees it from elsewhere."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from flows.progress.display import display
from pipeline import durable
from pipeline.errors import GeocorpusError
from pipeline.lock import Holder, holder_of
from pipeline.progress import Figure, Progress, Snapshot, Tracker

PROGRESS = "progress.json"
_EVERY_S = 2.0
# A run on another host that has been silent so long is taken for gone: nobody can ask for its process from here.
_SILENT_S = 60.0


@dataclass(frozen=True)
class Run:
    """What a run said last: its process, when (seconds since 1970), and where it stood."""

    holder: Holder
    updated_at: float
    snapshot: Snapshot

    @property
    def is_live(self) -> bool:
        """Whether the run goes on, as far as can be known: its process lives, or, on another host, spoke of late."""
        if not self.holder.may_live:
            return False
        return self.holder.host == Holder.me().host or time.time() - self.updated_at < _SILENT_S

    @classmethod
    def of(cls, folder: Path) -> Run | None:
        """The run at work in a corpus folder, or one that was killed; None when there is neither."""
        path = folder / PROGRESS
        if not path.exists():
            return None
        try:
            data = durable.read_json(path)
            return cls(Holder(**data["holder"]), float(data["updated_at"]), Snapshot(**data["snapshot"]))
        except (GeocorpusError, KeyError, TypeError, ValueError):
            return None  # it may have ended while we looked


class ProgressFile:
    """Progress that is shown, paced, and kept while this process holds the corpus. Use it as a context manager."""

    def __init__(self, shown: Progress, folder: Path) -> None:
        self._shown, self._folder = shown, folder
        self._tracker, self._me = Tracker(), Holder.me()
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep_on, daemon=True)

    def __enter__(self) -> ProgressFile:
        self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind, nor what a killed run left; another one may have begun meanwhile."""
        self._over.set()
        self._keeper.join()
        kept = Run.of(self._folder)
        if kept and (kept.holder == self._me or not kept.holder.may_live):
            (self._folder / PROGRESS).unlink(missing_ok=True)

    def snapshot(self) -> Snapshot:
        """Where the current stage stands."""
        return self._tracker.snapshot()

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """Begin a stage."""
        self._tracker.start(stage, total, done)
        self._shown.start(stage, total, done)
        self._keep()

    def advance(self, count: int = 1) -> None:
        """Count."""
        self._tracker.advance(count)
        self._shown.advance(count)

    def note(self, **figures: Figure) -> None:
        """Remember, and show with what follows from it."""
        self._tracker.note(**figures)
        self._shown.note(**derived(self._tracker.snapshot()), **figures)

    def say(self, sentence: str) -> None:
        """Show it."""
        self._shown.say(sentence)

    def _keep_on(self) -> None:
        """Every two seconds, whether anything came or not: a file that is silent would look like a run that is gone."""
        while not self._over.wait(_EVERY_S):
            self._keep()

    def _keep(self) -> None:
        snapshot = self._tracker.snapshot()
        if not snapshot.stage or holder_of(self._folder) != self._me:
            return
        data = {"holder": asdict(self._me), "updated_at": time.time(), "snapshot": asdict(snapshot)}
        with contextlib.suppress(GeocorpusError):  # a full disk is the work's to report
            durable.write_json(self._folder / PROGRESS, data)


@contextmanager
def live(as_json: bool, folder: Path) -> Iterator[ProgressFile]:
    """What suits standard error, kept in the corpus folder beside."""
    with display(as_json) as shown, ProgressFile(shown, folder) as progress:
        yield progress


def derived(snapshot: Snapshot) -> dict[str, Figure]:
    """Figures that follow from the others: pace, seconds left, and requests per chip."""
    unit = "chips_per_s" if snapshot.stage == "export" else "per_s"
    result = {unit: snapshot.per_s, "left_s": snapshot.left_s, "requests_per_chip": snapshot.requests_per_unit}
    return {name: round(value, 3) for name, value in result.items() if value is not None}
