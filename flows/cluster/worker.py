"""The worker process of a cluster: it pulls one shard at a time, at the request rate of its run."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from exporters import catalog
from exporters.earth_engine.client import Connection, EarthEngine, connect
from exporters.earth_engine.limiter_service import Endpoint
from exporters.earth_engine.remote_limiter import RemoteLimiter
from exporters.earth_engine.transport import Figures
from exporters.pull.export import ShardReport, puller
from exporters.pull.turn_gate import TurnGate
from pipeline import fence, lock
from pipeline.corpus import Corpus
from pipeline.errors import Fatal, GeocorpusError, Transient, Unwritable
from pipeline.modality import Modality
from pipeline.shard import Shard

_REPORT_EVERY_S = 0.5


@dataclass(frozen=True)
class JobSpec:
    """Everything that a worker needs to know of a run. Folders and files are on disks that the workers share.

    `lock` is the token of the corpus's lock, which the run holds: a worker of a run that has lost it writes no more.
    `file_layers` are the layers that come from files, each with what `source.layers` says of it.
    """

    run: str
    connection: Connection
    endpoint: Endpoint
    folder: Path
    spool: Path
    modalities: tuple[str, ...]
    modality_files: tuple[Path, ...]
    lock: str = ""
    file_layers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Failure:
    """An error that a worker sends back: its kind, which decides what the caller does, and its sentence."""

    kind: type[GeocorpusError]
    sentence: str

    @classmethod
    def of(cls, error: GeocorpusError) -> Failure:
        """The parts of the error that can be pickled."""
        kind = next((kind for kind in (Unwritable, Fatal, Transient) if isinstance(error, kind)), GeocorpusError)
        return cls(kind, str(error))


def pull(job: JobSpec, shard: Shard, names: Sequence[str]) -> ShardReport | Failure:
    """Finish the named layers of a shard. It returns errors that a person can act on; what it raises is a defect."""
    try:
        with _slot.acquired(job) as context, fence.guarded(context.refuse_lost):
            return context.pull(shard, names)
    except GeocorpusError as error:
        return Failure.of(error)
    except OSError as error:
        what = f"{error.filename or 'a file'} cannot be used there: {error.strerror or error}"
        return Failure(Unwritable, f"on worker {socket.gethostname()}, {what}; mend that and go on.")


class WorkerContext:
    """The corpus and the connection of a run, opened once per process."""

    def __init__(self, job: JobSpec) -> None:
        self.refuse_lost = partial(lock.refuse_lost, job.folder, job.lock)
        self.limiter = RemoteLimiter(job.endpoint)
        self.corpus = Corpus.open(job.folder)
        known = catalog.of_manifest(self.corpus.manifest, job.modalities or None, job.modality_files)
        self.layers = _layers(known, job)
        self.engine = connect(job.connection, self.limiter)
        self.spool, self.gate = job.spool, TurnGate()
        self.counter = RequestCounter(self.engine)

    def pull(self, shard: Shard, names: Sequence[str]) -> ShardReport:
        """Finish the shard: only layers without a ledger entry, as an earlier worker may have written some and died."""
        reports = Reports(self.limiter, self.counter, shard)
        pending = self.corpus.lacking(shard, names)
        pull = puller(self.engine, self.corpus, self.layers, self.spool, reports, self.gate)
        report = pull(shard, pending)
        reports.send()
        return report


def _layers(known: Sequence[Modality], job: JobSpec) -> list[Modality]:
    if not job.file_layers:
        return list(known)
    from exporters.files.static_layer import with_files  # here, or every worker would load GDAL

    return with_files(known, dict(job.file_layers), job.folder)


class RequestCounter:
    """The requests of a process that are not reported yet. Safe for many threads."""

    def __init__(self, engine: EarthEngine) -> None:
        self._engine, self._reported = engine, Figures()
        self._lock = threading.Lock()

    def take(self) -> Figures:
        """The figures since the last call."""
        with self._lock:
            now = self._engine.figures()
            unreported, self._reported = now.since(self._reported), now
            return unreported


class Reports:
    """Progress on one shard, reported from time to time to the process that started the run. Safe for many threads."""

    def __init__(self, limiter: RemoteLimiter, counter: RequestCounter, shard: Shard) -> None:
        self._limiter, self._counter, self._shard = limiter, counter, shard
        self._chips, self._sent_s = 0, 0.0
        self._lock = threading.Lock()

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """Do nothing: the process that started the run shows the stage."""

    def advance(self, count: int = 1) -> None:
        """Count chips; send a report if the last one is more than half a second old."""
        with self._lock:
            self._chips += count
            due = time.monotonic() - self._sent_s > _REPORT_EVERY_S
            self._sent_s = time.monotonic() if due else self._sent_s
        if due:
            self.send()

    def note(self, **figures: float | str) -> None:
        """Do nothing: the process that started the run computes the figures from the counts of all workers."""

    def say(self, sentence: str) -> None:
        """Send it at once."""
        self._limiter.tell(said=sentence)

    def send(self) -> None:
        """Report the chips of the shard so far and the requests since the last report."""
        self._limiter.tell(shard=self._shard.index, chips=self._chips, figures=asdict(self._counter.take()))


class _ContextSlot:
    """The run that a process works for. Earth Engine's client holds one connection, so two runs have to alternate."""

    def __init__(self) -> None:
        self._job: JobSpec | None = None
        self._context: WorkerContext | None = None
        self._active = 0
        self._changed = threading.Condition()

    @contextmanager
    def acquired(self, job: JobSpec) -> Iterator[WorkerContext]:
        """The context of this job, as soon as no thread of this process works on another job."""
        with self._changed:
            self._changed.wait_for(lambda: self._job == job or self._active == 0)
            context = self._opened(job)
            self._active += 1
        try:
            yield context
        finally:
            with self._changed:
                self._active -= 1
                self._changed.notify_all()

    def _opened(self, job: JobSpec) -> WorkerContext:
        if self._context is None or self._job != job:
            self._context, self._job = None, job
            self._context = WorkerContext(job)
        return self._context


_slot = _ContextSlot()
