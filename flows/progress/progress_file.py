"""A run's progress: shown here, and written to the corpus folder, where `geocorpus status` reads it."""

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
from pipeline.holder import Holder
from pipeline.lock import holder_of
from pipeline.progress import Figure, Progress, Snapshot, Tracker
from pipeline.stopping import at_stop

PROGRESS = "progress.json"
_EVERY_S = 2.0
# A run on another host counts as dead when its file is older: its process cannot be checked from here.
_STALE_S = 60.0


@dataclass(frozen=True)
class Run:
    """The last recorded state of a run: its process, the time of the record (seconds since 1970), and its progress."""

    holder: Holder
    updated_at: float
    snapshot: Snapshot

    @property
    def is_live(self) -> bool:
        """Whether the run goes on: its process runs on this host, or on another host its file is under 60 s old."""
        if not self.holder.may_live:
            return False
        return self.holder.host == Holder.me().host or time.time() - self.updated_at < _STALE_S

    @classmethod
    def of(cls, folder: Path) -> Run | None:
        """The run that works in a corpus folder, or one that was killed there; None when there is neither."""
        path = folder / PROGRESS
        if not path.exists():
            return None
        try:
            return durable.read_as(path, cls, "delete it")
        except GeocorpusError:
            return None  # the run may have ended while the file was read


class ProgressFile:
    """Progress that is shown, and written to a file while this process holds the corpus. A context manager."""

    def __init__(self, shown: Progress, folder: Path) -> None:
        self._shown, self._folder = shown, folder
        self._tracker, self._me = Tracker(), Holder.me()
        self._absent = durable.absent_folders(folder)
        self._stopped = threading.Event()
        self._writer = threading.Thread(target=self._write_repeatedly, daemon=True)

    def __enter__(self) -> ProgressFile:
        self._writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._writer.join()
        self.forget()

    def forget(self) -> None:
        """Remove the file, also that of a killed run, but not that of another run that has begun in between."""
        self._stopped.set()
        recorded = Run.of(self._folder)
        if recorded and (recorded.holder == self._me or not recorded.holder.may_live):
            (self._folder / PROGRESS).unlink(missing_ok=True)
        # The lock, which made the folder, was given up while the file was still in it.
        durable.remove_empty(self._absent)

    def snapshot(self) -> Snapshot:
        """The progress of the current stage."""
        return self._tracker.snapshot()

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """Begin a stage."""
        self._tracker.start(stage, total, done)
        self._shown.start(stage, total, done)
        self._write()

    def advance(self, count: int = 1) -> None:
        """Count units."""
        self._tracker.advance(count)
        self._shown.advance(count)

    def note(self, **figures: Figure) -> None:
        """Store figures, and show them with those derived from them."""
        self._tracker.note(**figures)
        self._shown.note(**derived(self._tracker.snapshot()), **figures)

    def say(self, sentence: str) -> None:
        """Show a sentence."""
        self._shown.say(sentence)

    def _write_repeatedly(self) -> None:
        """Write every two seconds even without progress: an old file would look like a dead run."""
        while not self._stopped.wait(_EVERY_S):
            self._write()

    def _write(self) -> None:
        snapshot = self._tracker.snapshot()
        if not snapshot.stage or holder_of(self._folder) != self._me:
            return
        data = {"holder": asdict(self._me), "updated_at": time.time(), "snapshot": asdict(snapshot)}
        with contextlib.suppress(GeocorpusError):  # the work itself reports a full disk
            durable.write_json(self._folder / PROGRESS, data)


@contextmanager
def live(as_json: bool, folder: Path) -> Iterator[ProgressFile]:
    """Progress on standard error and in the corpus folder."""
    with display(as_json) as shown, ProgressFile(shown, folder) as progress, at_stop(progress.forget):
        yield progress


def derived(snapshot: Snapshot) -> dict[str, Figure]:
    """Figures that follow from the others: units per second, seconds left, and requests per chip."""
    unit = "chips_per_s" if snapshot.stage == "export" else "per_s"
    result = {unit: snapshot.per_s, "left_s": snapshot.left_s, "requests_per_chip": snapshot.requests_per_unit}
    return {name: round(value, 3) for name, value in result.items() if value is not None}
