"""Shards pulled by the processes of a Dask cluster, all of them behind the one limiter of the run that began them."""

from __future__ import annotations

import logging
import secrets
import shlex
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from pkgutil import resolve_name
from typing import Any
from urllib.parse import urlsplit

from exporters.earth_engine.client import Connection, EarthEngine
from exporters.earth_engine.limiter import Limiter
from exporters.earth_engine.limiter_service import Endpoint, LimiterService
from exporters.earth_engine.transport import Figures
from exporters.pull.export import ShardReport
from flows.cluster import worker
from flows.cluster.worker import Failure, JobSpec
from flows.extras import require
from flows.settings import ClusterSettings, CorpusSettings
from pipeline.errors import Fatal, Transient
from pipeline.interpreter import SAFE_PATH, interpreter
from pipeline.progress import Progress
from pipeline.shard import Shard

_CONNECT_S = 15
_LOOK_EVERY_S = 3.0
_DESERTED_S = 120.0  # a worker that was killed is back in seconds, on a cluster that has any
_HERE = "127.0.0.1"
_STATUS_PAGE = f"{_HERE}:0"  # Dask serves one in any case; a free port is never in anybody's way
_DEATHS = 10  # of workers, before a shard is taken for what kills them; a scheduler of one's own has its own number
_EXPORTS = [f"export {name}={value}" for name, value in SAFE_PATH.items()]  # for what a worker starts in turn
_QUIET = {"logging.distributed": "critical", "distributed.scheduler.allowed-failures": _DEATHS}


class Reported:
    """What the workers report, added up and shown. Safe for many threads."""

    def __init__(self, engine: EarthEngine, progress: Progress) -> None:
        self._engine, self._progress = engine, progress
        self._chips: dict[int, int] = {}
        self._said: set[str] = set()
        self._lock = threading.Lock()

    def on_report(self, report: dict[str, Any]) -> None:
        """One report of `flows.cluster.worker.Reports`."""
        if "said" in report:
            self.say(report["said"])
            return
        self._engine.join(Figures(**report["figures"]))
        self._progress.advance(self._more(report["shard"], report["chips"]))
        self._engine.tell(self)

    def _more(self, shard: int, chips: int) -> int:
        """Chips that are new: who takes a shard over counts anew those that a lost worker had finished."""
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
        """Say once what many workers say."""
        with self._lock:
            known = sentence in self._said
            self._said.add(sentence)
        if not known:
            self._progress.say(sentence)


class WorkerPool:
    """The workers of a cluster, seen from the process that began the run. Safe for many threads."""

    def __init__(self, client: Any, job: JobSpec, size: int, patience_s: float) -> None:
        self.size = size
        self._client, self._job, self._patience_s = client, job, patience_s
        self._seen_s = time.monotonic()

    def pull(self, shard: Shard, names: Sequence[str]) -> ShardReport:
        """Have a worker finish a shard, another one if that is lost. Raises what happened there, or `Transient`."""
        try:
            key = f"shard-{shard.index}-{uuid.uuid4().hex}"
            future = self._client.submit(worker.pull, self._job, shard, tuple(names), pure=False, key=key)
            outcome = self._result(future, shard)
        except (CancelledError, OSError) as error:
            raise self._gone() from error
        if isinstance(outcome, Failure):
            raise outcome.kind(outcome.sentence)
        return outcome

    def _result(self, future: Any, shard: Shard) -> ShardReport | Failure:
        from distributed import KilledWorker

        while True:
            try:
                return future.result(timeout=_LOOK_EVERY_S)
            except TimeoutError:  # of this look; or of the errand itself, which is then no more to be waited for
                if future.status == "error":
                    raise
                self._refuse_desertion()
            except KilledWorker as error:
                raise Transient(
                    f"worker after worker died over shard {shard.index}; see whether a shard fits their memory, "
                    "and run the same command again."
                ) from error

    def _refuse_desertion(self) -> None:
        """Raise `Transient` when the scheduler is gone, or has had no worker for long."""
        if self._client.status != "running":
            raise self._gone()
        if self._client.nthreads():
            self._seen_s = time.monotonic()
        elif time.monotonic() - self._seen_s > self._patience_s:
            raise Transient(
                f"no worker has been there for {self._patience_s:.0f} s; start some, and run the same command again."
            )

    def _gone(self) -> Transient:
        return Transient("the Dask scheduler is gone; start it, and run the same command again to go on.")


def job_spec_of(connection: Connection, corpus: CorpusSettings, spool: Path) -> JobSpec:
    """What workers need to know of the export of a corpus; the door is the cluster's to give."""
    files = tuple(path.resolve() for path in corpus.modality_files)
    endpoint = Endpoint("", 0, "")
    return JobSpec(
        uuid.uuid4().hex, connection, endpoint, corpus.folder.resolve(), spool.resolve(), corpus.modalities, files
    )


@contextmanager
def running(settings: ClusterSettings, engine: EarthEngine, job: JobSpec, progress: Progress) -> Iterator[WorkerPool]:
    """The cluster of the settings, at work for as long as needed behind the limiter of `engine`.

    Raises `Fatal` when Dask is not installed or no scheduler answers.
    """
    limiter = engine.limiter
    if not isinstance(limiter, Limiter):
        raise Fatal("a worker of a run cannot begin a cluster of its own; set cluster.kind to none.")
    require("cluster", "this cluster.kind")
    host, bound = _addresses(settings)
    with _service(limiter, engine, Reported(engine, progress), bound, settings.port) as service:
        with _quietly(), _client(settings) as client:
            patience_s = float("inf") if settings.kind == "slurm" else _DESERTED_S
            size = _size(settings, client)
            yield WorkerPool(client, replace(job, endpoint=service.endpoint(host)), size, patience_s)


def _service(limiter: Limiter, engine: EarthEngine, reported: Reported, host: str, port: int) -> LimiterService:
    """The run's limiter, at an address of this machine; raises `Fatal` when that cannot be listened at."""
    try:
        secret = secrets.token_hex(32)
        return LimiterService(limiter, secret, engine.connection.deadline_s, reported.on_report, host, port)
    except OSError as error:
        raise Fatal(
            f"cannot listen at {host}:{port} ({error.strerror}); choose another cluster.port or cluster.host."
        ) from error


@contextmanager
def _quietly() -> Iterator[None]:
    """Without Dask's own running commentary, here and in workers that are started from here."""
    import dask
    import distributed  # noqa: F401 - sets the levels of its loggers as it is imported

    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("distributed", "bokeh", "dask_jobqueue"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    with dask.config.set(_QUIET):
        yield


def _addresses(settings: ClusterSettings) -> tuple[str, str]:
    """This machine as workers reach it, and the address to listen at: no more of the world than that."""
    if settings.kind == "local":
        return _HERE, _HERE
    if settings.host:
        return settings.host, "0.0.0.0"  # noqa: S104 - the name may be that of a gateway; the secret keeps the door
    own = _own_address(urlsplit(settings.address).hostname if settings.address else None)
    return own, own


def _own_address(towards: str | None) -> str:
    """The address of this machine on the way to another, or to the world; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((towards or "192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return _HERE


@contextmanager
def _client(settings: ClusterSettings) -> Iterator[Any]:
    from distributed import Client

    if settings.kind == "address":
        with _connected(str(settings.address)) as client:
            yield client
        return
    with _started(settings) as cluster, Client(cluster, set_as_default=False, timeout=_CONNECT_S) as client:
        yield client


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """A client of a scheduler that runs already."""
    from distributed import Client

    try:
        client = Client(address, set_as_default=False, timeout=_CONNECT_S)
    except (OSError, ValueError) as error:
        raise Fatal(
            f"no Dask scheduler answers at {address}; start one with `dask scheduler` and workers with "
            f"`dask worker {address}`, or correct cluster.address."
        ) from error
    try:
        _refuse_strangers(client)
        yield client
    finally:
        client.close(timeout=5)


def _refuse_strangers(client: Any) -> None:
    """Raise `Fatal` where a worker cannot import its work: it would end at its first task, and tell nobody why."""
    for address, answer in client.run(resolve_name, f"{worker.__name__}:__name__", on_error="return").items():
        if isinstance(answer, Exception):
            why = f"{type(answer).__name__}: {str(answer).rstrip('.')}"
            raise Fatal(
                f"the worker at {address} cannot import {worker.__name__} ({why}); install this version of geocorpus "
                "there, and start the worker where no folder is called like one of its packages."
            )


def _started(settings: ClusterSettings) -> Any:
    """A cluster that lives as long as this process. Raises `Transient` when its processes do not come up."""
    try:
        if settings.kind == "local":
            return _local(settings)
        cluster = slurm(settings)
        cluster.scale(jobs=settings.jobs)
        return cluster
    except (RuntimeError, OSError) as error:
        raise Transient(f"the workers did not start ({str(error).rstrip('.')}); run the same command again.") from error


def _local(settings: ClusterSettings) -> Any:
    """Worker processes on this machine, which end with this one."""
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=settings.workers, threads_per_worker=settings.threads, processes=True, host=_HERE,
        dashboard_address=_STATUS_PAGE, silence_logs=logging.CRITICAL,
        memory_limit=0,  # a shard is no data of Dask's: it could only pause or kill who holds one
    )  # fmt: skip


def slurm(settings: ClusterSettings) -> Any:
    """A cluster of SLURM jobs, none of which is submitted yet; `job_script()` shows what one is."""
    require("slurm", "this cluster.kind")
    from dask_jobqueue import SLURMCluster

    return SLURMCluster(
        queue=settings.queue, account=settings.account, walltime=settings.walltime, memory=settings.memory,
        cores=settings.cores, processes=max(1, settings.cores // settings.threads), python=shlex.join(interpreter()),
        job_extra_directives=list(settings.directives), job_script_prologue=_EXPORTS,
        scheduler_options={"dashboard_address": _STATUS_PAGE, "host": settings.host or _own_address(None)},
    )  # fmt: skip


def _size(settings: ClusterSettings, client: Any) -> int:
    """Shards to keep in work: one a thread of the workers, and one more, so that nobody waits for the next."""
    if settings.kind == "slurm":
        return settings.jobs * settings.cores + 1
    if settings.kind == "local":
        return settings.workers * settings.threads + 1
    return max(1, sum(client.nthreads().values())) + 1
