"""What a worker process of a cluster does: it pulls one shard at a time, at the pace of the run that it works for."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from exporters import catalog
from exporters.earth_engine.client import Connection, EarthEngine, connect
from exporters.earth_engine.limiter_service import Endpoint
from exporters.earth_engine.remote_limiter import RemoteLimiter
from exporters.earth_engine.transport import Figures
from exporters.pull.export import ShardReport, puller
from exporters.pull.turn_gate import TurnGate
from pipeline.corpus import Corpus
from pipeline.errors import Fatal, GeocorpusError, Transient
from pipeline.shard import Shard

_REPORT_EVERY_S = 0.5


@dataclass(frozen=True)
class JobSpec:
    """All that a worker has to know of a run. Folders and files are on disks that the workers have, too."""

    run: str
    connection: Connection
    endpoint: Endpoint
    folder: Path
    spool: Path
    modalities: tuple[str, ...]
    modality_files: tuple[Path, ...]


@dataclass(frozen=True)
class Failure:
    """An error on its way home: the kind that tells the caller what to do, and its sentence."""

    kind: type[GeocorpusError]
    sentence: str

    @classmethod
    def of(cls, error: GeocorpusError) -> Failure:
        """The error without what cannot travel."""
        kind = next((kind for kind in (Fatal, Transient) if isinstance(error, kind)), GeocorpusError)
        return cls(kind, str(error))


def pull(job: JobSpec, shard: Shard, names: Sequence[str]) -> ShardReport | Failure:
    """Finish the named layers of a shard. Errors that a person can act on are returned: what is raised is a defect."""
    try:
        with _slot.taken(job) as context:
            return context.pull(shard, names)
    except GeocorpusError as error:
        return Failure.of(error)
    except OSError as error:
        what = f"{error.filename or 'a file'} cannot be used there: {error.strerror or error}"
        return Failure(Fatal, f"on worker {socket.gethostname()}, {what}; mend that and go on.")


class WorkerContext:
    """A run's corpus and connection, opened once per process."""

    def __init__(self, job: JobSpec) -> None:
        self.limiter = RemoteLimiter(job.endpoint)
        self.corpus = Corpus.open(job.folder)
        chosen = catalog.modalities(job.modalities or None, job.modality_files)
        self.layers = catalog.bound(chosen, self.corpus.manifest)
        self.engine = connect(job.connection, self.limiter)
        self.spool, self.gate = job.spool, TurnGate()
        self.counted = Counted(self.engine)

    def pull(self, shard: Shard, names: Sequence[str]) -> ShardReport:
        """Finish the shard; whoever had it before may have died over it with all of it written, but not reported."""
        reports = Reports(self.limiter, self.counted, shard)
        lacking = self.corpus.lacking(shard, names)
        pull = puller(self.engine, self.corpus, self.layers, self.spool, reports, self.gate)
        report = pull(shard, lacking)
        reports.send()
        return report


class Counted:
    """What a process has counted and not yet reported. Safe for many threads."""

    def __init__(self, engine: EarthEngine) -> None:
        self._engine, self._reported = engine, Figures()
        self._lock = threading.Lock()

    def take(self) -> Figures:
        """What was counted since the last call."""
        with self._lock:
            now = self._engine.figures()
            news, self._reported = now.since(self._reported), now
            return news


class Reports:
    """Progress on one shard that goes to the process that began the run, now and then. Safe for many threads."""

    def __init__(self, limiter: RemoteLimiter, counted: Counted, shard: Shard) -> None:
        self._limiter, self._counted, self._shard = limiter, counted, shard
        self._chips, self._sent_s = 0, 0.0
        self._lock = threading.Lock()

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """The run knows the stage."""

    def advance(self, count: int = 1) -> None:
        """Count chips; a report is sent when the last one is a while ago."""
        with self._lock:
            self._chips += count
            due = time.monotonic() - self._sent_s > _REPORT_EVERY_S
            self._sent_s = time.monotonic() if due else self._sent_s
        if due:
            self.send()

    def note(self, **figures: float | str) -> None:
        """The run makes them of what is counted, which it has of all workers."""

    def say(self, sentence: str) -> None:
        """Pass it on at once."""
        self._limiter.tell(said=sentence)

    def send(self) -> None:
        """Report where the shard stands and what was counted."""
        self._limiter.tell(shard=self._shard.index, chips=self._chips, figures=asdict(self._counted.take()))


class _ContextSlot:
    """The one run that a process works for: Earth Engine's client holds one connection, so two runs take turns."""

    def __init__(self) -> None:
        self._job: JobSpec | None = None
        self._context: WorkerContext | None = None
        self._at_work = 0
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, job: JobSpec) -> Iterator[WorkerContext]:
        """The workplace of this errand, once nobody in this process works on another."""
        with self._changed:
            self._changed.wait_for(lambda: self._job == job or self._at_work == 0)
            context = self._opened(job)
            self._at_work += 1
        try:
            yield context
        finally:
            with self._changed:
                self._at_work -= 1
                self._changed.notify_all()

    def _opened(self, job: JobSpec) -> WorkerContext:
        if self._context is None or self._job != job:
            self._context, self._job = None, job
            self._context = WorkerContext(job)
        return self._context


_slot = _ContextSlot()
