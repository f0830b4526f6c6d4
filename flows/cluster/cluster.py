"""Shards pulled by the processes of a Dask cluster, which share the limiter of the run that started them."""

from __future__ import annotations

import logging
import secrets
import shlex
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from pkgutil import resolve_name
from typing import Any
from urllib.parse import urlsplit

from exporters.earth_engine.client import Connection, EarthEngine
from exporters.earth_engine.limiter import Limiter
from exporters.earth_engine.limiter_service import Endpoint, LimiterService
from exporters.earth_engine.transport import Figures
from exporters.files.layer_files import absolute
from exporters.pull.export import ShardReport
from flows.cluster import certificates, worker
from flows.cluster.worker import Failure, JobSpec
from flows.extras import require
from flows.settings import ClusterSettings, CorpusSettings
from pipeline.errors import Fatal, Transient
from pipeline.interpreter import SAFE_PATH, interpreter
from pipeline.lock import token_of
from pipeline.progress import Progress
from pipeline.shard import Shard

_CONNECT_S = 15
_POLL_S = 3.0
_NO_WORKER_S = 120.0  # a cluster restarts a killed worker within seconds
_LOCALHOST = "127.0.0.1"
_LOOPBACK = f"{_LOCALHOST}:0"  # where Dask's HTTP servers listen, which ask nobody who they are
_WORKER_DEATHS = 10  # allowed per shard before Dask gives it up; a user's own scheduler has its own limit
# For processes that a job starts. Dask cannot be told to start no HTTP server; without routes it answers nothing.
_EXPORTS = [f"export {name}={value}" for name, value in SAFE_PATH.items()]
_EXPORTS.append("export DASK_DISTRIBUTED__WORKER__HTTP__ROUTES='[]'")
_CONFIGURATION = {
    "logging.distributed": "critical",
    "distributed.scheduler.allowed-failures": _WORKER_DEATHS,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    # Nobody looks at Dask's pages: without their samples, idle processes of a run with two workers take 3 % of a core
    # in place of 12 %.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.tick.interval": "500ms",
}


class Reported:
    """The sum of the reports of all workers, passed on to the run's progress. Safe for many threads."""

    def __init__(self, engine: EarthEngine, progress: Progress) -> None:
        self._engine, self._progress = engine, progress
        self._chips: dict[int, int] = {}
        self._sentences: set[str] = set()
        self._lock = threading.Lock()

    def on_report(self, report: dict[str, Any]) -> None:
        """One report of `flows.cluster.worker.Reports`."""
        if "said" in report:
            self.say(report["said"])
            return
        self._engine.join(Figures(**report["figures"]))
        self._progress.advance(self._new_chips(report["shard"], report["chips"]))
        self._engine.tell(self)

    def _new_chips(self, shard: int, chips: int) -> int:
        """Chips not counted before: a worker that takes over a shard counts the chips of the lost worker again."""
        with self._lock:
            before = self._chips.get(shard, 0)
            self._chips[shard] = max(before, chips)
            return self._chips[shard] - before

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """Begin a stage."""
        self._progress.start(stage, total, done)

    def advance(self, count: int = 1) -> None:
        """Count chips."""
        self._progress.advance(count)

    def note(self, **figures: float | str) -> None:
        """Show figures of the whole run."""
        self._progress.note(**figures)

    def say(self, sentence: str) -> None:
        """Show a sentence once, however many workers send it."""
        with self._lock:
            known = sentence in self._sentences
            self._sentences.add(sentence)
        if not known:
            self._progress.say(sentence)


class WorkerPool:
    """The workers of a cluster, for the process that started the run. Safe for many threads."""

    def __init__(self, client: Any, job: JobSpec, size: int, patience_s: float) -> None:
        self.size = size
        self._client, self._job, self._patience_s = client, job, patience_s
        self._worker_seen_s = time.monotonic()

    def pull(self, shard: Shard, names: Sequence[str]) -> ShardReport:
        """Let a worker finish a shard; if the worker is lost, another one takes over.

        Raises the worker's own error (`Fatal`, `Transient` or another `GeocorpusError`), and `Transient` when the
        scheduler or all workers are lost.
        """
        try:
            key = f"shard-{shard.index}-{uuid.uuid4().hex}"
            future = self._client.submit(worker.pull, self._job, shard, tuple(names), pure=False, key=key)
            outcome = self._result(future, shard)
        except (
            CancelledError,
            OSError,
            UnboundLocalError,
        ) as error:  # the last is Dask's for a call that was cancelled
            raise self._gone() from error
        if isinstance(outcome, Failure):
            raise outcome.kind(outcome.sentence)
        return outcome

    def _result(self, future: Any, shard: Shard) -> ShardReport | Failure:
        from distributed import KilledWorker

        while True:
            try:
                return future.result(timeout=_POLL_S)
            except TimeoutError:  # either this poll timed out, or the task itself failed with a TimeoutError
                if future.status == "error":
                    raise
                self._refuse_no_workers()
            except KilledWorker as error:
                raise Transient(
                    f"worker after worker died over shard {shard.index}; see whether a shard fits their memory, "
                    "and run the same command again."
                ) from error

    def _refuse_no_workers(self) -> None:
        """Raise `Transient` when the scheduler is gone, or has had no worker for `patience_s`."""
        if self._client.status != "running":
            raise self._gone()
        if self._client.nthreads():
            self._worker_seen_s = time.monotonic()
        elif time.monotonic() - self._worker_seen_s > self._patience_s:
            raise Transient(
                f"no worker has been there for {self._patience_s:.0f} s; start some, and run the same command again."
            )

    def _gone(self) -> Transient:
        return Transient("the Dask scheduler is gone; start it, and run the same command again to go on.")


def job_spec_of(connection: Connection, corpus: CorpusSettings, spool: Path, file_layers: Mapping[str, str]) -> JobSpec:
    """What a worker needs for the export of a corpus; `running` fills in the limiter's endpoint."""
    files = tuple(path.resolve() for path in corpus.modality_files)
    endpoint, folder = Endpoint("", 0, ""), corpus.folder.resolve()
    from_files = tuple((name, absolute(text)) for name, text in file_layers.items())
    return JobSpec(
        uuid.uuid4().hex, connection, endpoint, folder, spool.resolve(), corpus.modalities, files, token_of(folder),
        from_files,
    )  # fmt: skip


@contextmanager
def running(settings: ClusterSettings, engine: EarthEngine, job: JobSpec, progress: Progress) -> Iterator[WorkerPool]:
    """Start or join the cluster of the settings; its workers share the limiter of `engine`. It stops on exit.

    Raises `Fatal` when Dask is not installed, no scheduler answers, a worker cannot import geocorpus or the limiter
    cannot listen at its address, and `Transient` when the worker processes do not start.
    """
    limiter = engine.limiter
    if not isinstance(limiter, Limiter):
        raise Fatal("a worker of a run cannot begin a cluster of its own; set cluster.kind to none.")
    check(settings)
    _warn_of_open_scheduler(settings, progress)
    host, bound = _addresses(settings)
    with _service(limiter, engine, Reported(engine, progress), bound, settings.port) as service:
        with _configured(), _client(settings, job.folder) as client:
            patience_s = float("inf") if settings.kind == "slurm" else _NO_WORKER_S
            size = _size(settings, client)
            yield WorkerPool(client, replace(job, endpoint=service.endpoint(host)), size, patience_s)


def check(settings: ClusterSettings) -> None:
    """Raise `Fatal` for a library that is not installed, and for a user's scheduler that is open to a network."""
    if settings.kind == "none":
        return
    require("slurm" if settings.kind == "slurm" else "cluster", "this cluster.kind")
    if settings.address is not None:
        certificates.refuse_open_network(settings.address)


def _warn_of_open_scheduler(settings: ClusterSettings, progress: Progress) -> None:
    if settings.address is not None and certificates.is_open(settings.address):
        progress.say(
            f"the Dask scheduler at {settings.address} asks nobody for a certificate: every user of this machine can "
            "run code as you there; docs/cluster.md shows how to start it with TLS."
        )


def _service(limiter: Limiter, engine: EarthEngine, reported: Reported, host: str, port: int) -> LimiterService:
    """Serve the run's limiter at an address of this machine; raises `Fatal` when that address cannot be used."""
    try:
        secret = secrets.token_hex(32)
        return LimiterService(limiter, secret, engine.connection.deadline_s, reported.on_report, host, port)
    except OSError as error:
        raise Fatal(
            f"cannot listen at {host}:{port} ({error.strerror}); choose another cluster.port or cluster.host."
        ) from error


@contextmanager
def _configured() -> Iterator[None]:
    """Dask's configuration for a run, here and in workers that this process starts: no log messages, no HTTP pages."""
    import dask
    import distributed  # noqa: F401 - its import sets the levels of its loggers

    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("distributed", "bokeh", "dask_jobqueue"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    with dask.config.set(_CONFIGURATION):
        yield


def _addresses(settings: ClusterSettings) -> tuple[str, str]:
    """The address under which workers reach this machine, and the narrowest address to listen at."""
    if settings.kind == "local":
        return _LOCALHOST, _LOCALHOST
    if settings.host:
        return settings.host, "0.0.0.0"  # noqa: S104 - the name may be a gateway's; the secret protects the port
    own = _own_address(urlsplit(settings.address).hostname if settings.address else None)
    return own, own


def _own_address(towards: str | None) -> str:
    """The address of this machine on its route to `towards`, or to the internet; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((towards or "192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return _LOCALHOST


@contextmanager
def _client(settings: ClusterSettings, folder: Path) -> Iterator[Any]:
    """A client of the user's scheduler, or of a cluster that is started; `folder` is the corpus's."""
    from distributed import Client

    if settings.kind == "address":
        with _connected(str(settings.address)) as client:
            yield client
        return
    with _started(settings, folder) as cluster:
        with closed_at_the_end(Client(cluster, set_as_default=False, timeout=_CONNECT_S)) as client:
            yield client


@contextmanager
def closed_at_the_end(item: Any) -> Iterator[Any]:
    """A client or a cluster. Closing it may be cancelled, as the other side closes as well, and the work is over then.

    `distributed.utils.sync` (2026.8) has no result and no error of a cancelled call, and raises `UnboundLocalError`.
    """
    try:
        yield item
    finally:
        with suppress(UnboundLocalError):
            item.close()


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """A client of a scheduler that is already running."""
    from distributed import Client

    try:
        client = Client(address, set_as_default=False, timeout=_CONNECT_S)
    except (OSError, TypeError, ValueError) as error:
        raise Fatal(
            f"no Dask scheduler lets this process in at {address}; start one and its workers as docs/cluster.md shows, "
            "with the certificates that Dask's configuration names here, or correct cluster.address."
        ) from error
    try:
        _refuse_unusable_workers(client)
        yield client
    finally:
        client.close(timeout=5)


def _refuse_unusable_workers(client: Any) -> None:
    """Raise `Fatal` when a worker cannot import geocorpus: it would die at its first task without a reason."""
    for address, answer in client.run(resolve_name, f"{worker.__name__}:__name__", on_error="return").items():
        if isinstance(answer, Exception):
            why = f"{type(answer).__name__}: {str(answer).rstrip('.')}"
            raise Fatal(
                f"the worker at {address} cannot import {worker.__name__} ({why}); install this version of geocorpus "
                "there, and start the worker where no folder is called like one of its packages."
            )


@contextmanager
def _started(settings: ClusterSettings, folder: Path) -> Iterator[Any]:
    """A cluster that ends with this process. Raises `Transient` when its processes do not start."""
    shared = certificates.shared_folder(folder) if settings.kind == "slurm" else nullcontext(folder)
    with shared as keys:
        try:
            cluster = _local(settings) if settings.kind == "local" else _submitted(settings, keys)
        except (RuntimeError, OSError) as error:
            why = str(error).rstrip(".")
            raise Transient(f"the workers did not start ({why}); run the same command again.") from error
        with closed_at_the_end(cluster):
            yield cluster


def _local(settings: ClusterSettings) -> Any:
    """Worker processes on this machine, which end with this process and let no other user's process in."""
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=settings.workers, threads_per_worker=settings.threads, processes=True, host=_LOCALHOST,
        protocol="tls://", security=certificates.temporary(), dashboard_address=_LOOPBACK,
        silence_logs=logging.CRITICAL,
        memory_limit=0,  # Dask cannot spill a shard to disk: with a limit it would only pause or kill the worker
    )  # fmt: skip


def _submitted(settings: ClusterSettings, keys: Path) -> Any:
    jobs = slurm(settings, keys)
    jobs.scale(jobs=settings.jobs)
    return jobs


def slurm(settings: ClusterSettings, keys: Path) -> Any:
    """A cluster of SLURM jobs, none submitted yet; its `job_script()` gives the script of a job.

    The jobs read their certificate and key from files in `keys`, which only this user can read.
    """
    from dask_jobqueue import SLURMCluster

    return SLURMCluster(
        queue=settings.queue, account=settings.account, walltime=settings.walltime, memory=settings.memory,
        cores=settings.cores, processes=max(1, settings.cores // settings.threads), python=shlex.join(interpreter()),
        job_extra_directives=list(settings.directives), job_script_prologue=_EXPORTS,
        worker_extra_args=["--no-dashboard", "--dashboard-address", _LOOPBACK],
        protocol="tls://", security=certificates.in_files(keys),
        scheduler_options={"dashboard_address": _LOOPBACK, "host": settings.host or _own_address(None)},
    )  # fmt: skip


def _size(settings: ClusterSettings, client: Any) -> int:
    """Shards to keep in work: one per worker thread, and one more, so that no thread waits for its next shard."""
    if settings.kind == "slurm":
        return settings.jobs * settings.cores + 1
    if settings.kind == "local":
        return settings.workers * settings.threads + 1
    return max(1, sum(client.nthreads().values())) + 1
