"""The export on worker processes: one limiter over all, the same bytes, and nothing that hangs when a part dies."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Client
from google.oauth2.credentials import Credentials

from benchmarks.chaos import manifest_of
from benchmarks.dask_processes import DaskProcesses, dask_processes
from exporters.earth_engine.client import Connection, EarthEngine
from exporters.earth_engine.faults import AssetGone
from exporters.earth_engine.limiter import Limiter
from exporters.earth_engine.limiter_service import Endpoint, LimiterService
from exporters.earth_engine.transport import Figures
from flows import extras, stages
from flows.cluster import cluster, worker
from flows.cluster.cluster import Reported
from flows.cluster.worker import Failure, JobSpec, _ContextSlot
from flows.settings import ClusterSettings, load
from pipeline.corpus_folder import MANIFEST
from pipeline.errors import Fatal, GeocorpusError, Transient, Unwritable
from pipeline.lock import locked, token_of
from pipeline.progress import Silent
from pipeline.shard import Shard
from sandbox.planet import Planet
from sandbox.service.server import Sandbox
from tests.flows.jobs import counters, differences, geocorpus, reset, sandbox, snapshot, start
from tests.flows.test_crash import children_of, descendants_gone
from tests.rivals import rivals

CAP = 4
CHIPS = 24
USER_FILE = Path(__file__).parent.with_name("worldcover_2020.py")
slow = [pytest.mark.slow, pytest.mark.xdist_group("cluster"), pytest.mark.timeout(200)]


def settings_of(url: str, folder: Path, *more: str) -> list[str]:
    return [
        f"corpus.folder={folder}", f"source.url={url}", f"source.concurrency={CAP}", "source.deadline_s=20",
        "corpus.shard_rows=6", f"corpus.modality_files=['{USER_FILE}']",
        "corpus.modalities=['esa_worldcover', 'worldcover_2020', 'era5', 'lat']", *more,
    ]  # fmt: skip


@contextmanager
def service(*options: str) -> Iterator[str]:
    """A sandbox that enforces nothing, so that what it counts is what came."""
    with sandbox("--no-quotas", "--latency", "0.2", *options) as url:
        yield url


def frozen(folder: Path) -> Path:
    """A folder with a manifest, as sampling and anchoring leave it."""
    manifest_of(CHIPS).write(folder / MANIFEST)
    return folder


@dataclass
class Noted:
    """Progress that remembers."""

    total: int = 0
    done: int = 0
    figures: dict[str, Any] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def start(self, stage: str, total: int, done: int = 0) -> None:
        self.total, self.done = total, done

    def advance(self, count: int = 1) -> None:
        self.done += count

    def note(self, **figures: float | str) -> None:
        self.figures |= figures

    def say(self, sentence: str) -> None:
        self.said.append(sentence)


def export(overrides: list[str]) -> tuple[Noted, EarthEngine]:
    """The export as `geocorpus export` calls it."""
    settings, progress = load("demo", overrides), Noted()
    with stages.earth_engine(settings) as engine:
        stages.export(settings, engine, progress)
        return progress, engine


@dataclass(frozen=True)
class Plain:
    """What an export in one process makes, and the pixel requests that it takes."""

    files: dict[str, bytes]
    asked: dict[str, int]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Plain:
    folder = frozen(tmp_path_factory.mktemp("plain") / "corpus")
    with service() as url:
        export(settings_of(url, folder))
        return Plain(snapshot(folder), counters(url)["expressions"]["image:computePixels"])


class SlowAnswer:
    """A task that has ended, whose outcome takes longer than one look to come over: Dask says that as a timeout."""

    def __init__(self) -> None:
        self.status, self.looks = "finished", 0

    def result(self, timeout: float) -> Failure:
        self.looks += 1
        if self.looks < 3:
            raise TimeoutError
        return Failure(Fatal, "it came.")


class Dask:
    """As much of a Dask client as one answer needs."""

    status = "running"

    def submit(self, *_: object, **__: object) -> SlowAnswer:
        return SlowAnswer()

    def nthreads(self) -> dict[str, int]:
        return {"a worker": 1}


def test_an_answer_that_takes_long_to_come_over_is_waited_for(tmp_path: Path) -> None:
    job = JobSpec("run", Connection("demo"), Endpoint("", 0, ""), tmp_path, tmp_path, ("lat",), ())
    with pytest.raises(Fatal, match="it came"):
        cluster.WorkerPool(Dask(), job, 1, patience_s=60).pull(Shard(0, 0, 6), ("lat",))


def test_a_job_is_the_same_however_often_it_travels(tmp_path: Path) -> None:
    """Or each shard of a run would have to wait for the others of its process, and connect anew."""
    connection = Connection("demo", credentials=Credentials("none"))
    job = JobSpec("run", connection, Endpoint("", 0, ""), tmp_path, tmp_path, ("lat",), ())
    there = pickle.loads(pickle.dumps(job))  # noqa: S301 (our own)
    assert there == job and there.connection.credentials.valid


class TestLocal:
    pytestmark = slow

    def test_two_workers_hold_the_cap_together_and_make_the_same_bytes(
        self, plain: Plain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = frozen(tmp_path / "corpus")
        with service() as url:
            with monkeypatch.context() as here:
                here.chdir(rivals(tmp_path / "rivals"))  # the workers find our packages all the same
                progress, engine = export(settings_of(url, folder, "cluster.kind=local", "cluster.workers=2"))
            seen = counters(url)
        assert seen["peak_concurrency"] == CAP, "both workers together, and all of it used"
        assert differences(snapshot(folder), plain.files) == []
        assert seen["expressions"]["image:computePixels"] == plain.asked
        assert (progress.done, progress.total) == (CHIPS, CHIPS)
        assert engine.figures().requests == seen["total"], "the run counts what its workers asked"
        assert progress.figures["requests"] > CHIPS

    def test_what_workers_give_up_is_said_and_taken_up_again(self, plain: Plain, tmp_path: Path) -> None:
        folder = frozen(tmp_path / "corpus")
        with service("--fault", "image:computePixels/503=0.3", "--seed", "0") as url:
            ours = settings_of(url, folder, "source.attempts=1", "cluster.kind=local", "cluster.workers=1")
            with pytest.raises(Transient, match="could not be pulled.*geocorpus retry"):
                export(ours)
        assert list((folder / "failed").glob("*.json"))
        with service() as url:
            export(settings_of(url, folder))
        assert differences(snapshot(folder), plain.files) == []

    def test_ctrl_c_ends_everything_at_once(self, tmp_path: Path) -> None:
        folder = frozen(tmp_path / "corpus")
        ours = [one for one in settings_of("", folder, "cluster.kind=local") if not one.startswith("source.url")]
        process = start("export", "demo", *ours, "source.sandbox_latency_s=1", group=True)
        wait_for(lambda: spooled(folder) > 1, process)
        children = children_of(process.pid)
        assert len(children) >= 3, "a sandbox and two workers"
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 130
        assert "stopped; run the same command again" in errors and "Traceback" not in errors
        assert descendants_gone(children, within_s=20)


def spooled(folder: Path) -> int:
    return len(list((folder / "spool").rglob("[0-9]*.chip")))


def wait_for(met: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Until `met`; the process must not end before."""
    while not met():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


@contextmanager
def configured(processes: DaskProcesses) -> Iterator[None]:
    """Dask's configuration in this process, as a process has it that is started with the environment."""
    prefix = "DASK_DISTRIBUTED__COMM__TLS__"
    names = {name: name.removeprefix(prefix).lower().replace("__", ".") for name in processes.environment}
    values = {names[name].replace("_", "-"): value for name, value in processes.environment.items()}
    with dask.config.set({f"distributed.comm.tls.{name}": value for name, value in values.items()}):
        yield


class TestAddress:
    pytestmark = slow

    def test_a_scheduler_that_dies_ends_the_run_and_relaunching_goes_on(self, plain: Plain, tmp_path: Path) -> None:
        folder = frozen(tmp_path / "corpus")
        with service() as url:
            with dask_processes(2) as there:
                ours = settings_of(url, folder, "cluster.kind=address", f"cluster.address={there.address}")
                process = start("export", "demo", *ours, **there.environment)
                wait_for(lambda: spooled(folder) > 1, process)
                there.scheduler.kill()
                _, errors = process.communicate(timeout=60)
                assert process.returncode == 1
                said = [line for line in errors.splitlines() if not line.startswith("export:")]
                assert len(said) == 1 and "the Dask scheduler is gone; start it, and run the same command" in said[0]
            kept, asked = spooled(folder), self._asked(url)
            reset(url)
            with dask_processes(2) as there:
                ours = settings_of(url, folder, "cluster.kind=address", f"cluster.address={there.address}")
                process = start("export", "demo", *ours, **there.environment)
                wait_for(lambda: spooled(folder) > kept, process)
                there.workers[0].kill()
                _, errors = process.communicate(timeout=120)
                assert process.returncode == 0, errors
            assert counters(url)["peak_concurrency"] <= CAP
            assert asked + self._asked(url) <= plain.asked["requests"] + 2 * CAP, "what was in flight at each death"
        assert differences(snapshot(folder), plain.files) == []

    def _asked(self, url: str) -> int:
        while counters(url)["in_flight"]:
            time.sleep(0.05)
        return int(counters(url)["requests"].get("image:computePixels", 0))

    def test_a_worker_that_imports_another_package_is_named(self, tmp_path: Path) -> None:
        """Such a worker dies of its first task without a word, and the next one after it."""
        with dask_processes(0) as there:
            command = there.worker_command("--local-directory", str(tmp_path))
            place = rivals(tmp_path / "there", "flows")
            environment = os.environ | there.environment
            with configured(there), subprocess.Popen(command, cwd=place, env=environment) as process:
                with Client(there.address, set_as_default=False) as client:
                    client.wait_for_workers(1)
                    with pytest.raises(Fatal, match="the worker at tls://.* cannot import flows.cluster.w.*rival"):
                        with cluster._client(ClusterSettings(kind="address", address=there.address), tmp_path):
                            pass
                    assert client.nthreads(), "asking does a worker no harm"
                process.kill()

    def test_no_scheduler_is_one_sentence(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cluster, "_CONNECT_S", 1)
        outcome = ClusterSettings(kind="address", address="tcp://127.0.0.1:9")
        with pytest.raises(Fatal, match="no Dask scheduler lets this process in at tcp://127.0.0.1:9; start one"):
            with cluster._client(outcome, tmp_path):
                pass


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("cluster.kind=address", "address and kind"),
        ("cluster.address=tcp://10.0.0.1:8786", "address and kind"),
        ("cluster.kind=slrum", "'none', 'local', 'address' or 'slurm'"),
        ("cluster.worker=3", "did you mean 'cluster.workers'"),
        ("cluster.workers=0", "cluster.workers"),
    ],
)
def test_wrong_settings_are_refused(override: str, words: str) -> None:
    with pytest.raises(Fatal, match=words):
        load("demo", [override])


@pytest.mark.parametrize(("module", "extra"), [("distributed", "cluster"), ("dask_jobqueue", "slurm")])
def test_what_is_not_installed_is_one_sentence(monkeypatch: pytest.MonkeyPatch, module: str, extra: str) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(Fatal, match=rf"needs {module}; install it with: pip install 'geocorpus\[{extra}\]'"):
        extras.require(extra, "this cluster.kind")


def test_an_address_towards_this_machine_is_this_machine_alone() -> None:
    assert cluster._addresses(ClusterSettings(kind="address", address="tcp://127.0.0.1:8786")) == ("127.0.0.1",) * 2
    assert cluster._addresses(ClusterSettings(kind="local")) == ("127.0.0.1",) * 2
    named = ClusterSettings(kind="address", address="tcp://127.0.0.1:8786", host="login.cluster")
    assert cluster._addresses(named)[0] == "login.cluster"


class Engine:
    """Counts as an engine does."""

    connection = Connection("demo")

    def __init__(self) -> None:
        self.counted = Figures()

    def join(self, more: Figures) -> None:
        self.counted = self.counted.plus(more)

    def tell(self, progress: Reported) -> None:
        progress.note(requests=self.counted.requests)


def test_a_shard_that_is_begun_anew_counts_its_chips_once() -> None:
    engine, progress = Engine(), Noted()
    reported = Reported(engine, progress)  # type: ignore[arg-type]
    for shard, chips in [(0, 3), (1, 2), (0, 5), (0, 1), (0, 5), (0, 6), (1, 2)]:
        reported.on_report({"shard": shard, "chips": chips, "figures": {"requests": 2, "throttled": 1}})
    assert progress.done == 6 + 2
    assert engine.counted == Figures(requests=14, throttled=7) and progress.figures == {"requests": 14}
    for _ in range(3):
        reported.on_report({"said": "restricted"})
    assert progress.said == ["restricted"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [(Fatal("a"), Fatal), (Transient("a", 3.0), Transient), (AssetGone("a", "id"), GeocorpusError)],
)
def test_errors_travel_as_what_they_ask_of_the_caller(error: GeocorpusError, kind: type[GeocorpusError]) -> None:
    assert Failure.of(error) == Failure(kind, "a")


def job(folder: Path, url: str, endpoint: Endpoint) -> JobSpec:
    connection = Connection("demo", url, concurrency=2)
    return JobSpec("run", connection, endpoint, folder, folder / "spool", ("lat",), ())


def test_a_worker_whose_run_is_gone_writes_nothing(tmp_path: Path) -> None:
    """Not even that it failed: another worker may have the shard by now."""
    with LimiterService(Limiter(2, 100.0), "secret", 1.0, lambda report: None) as gone:
        endpoint = gone.endpoint()
    settings = load("demo", [f"corpus.folder={frozen(tmp_path / 'c')}", "corpus.modalities=['lat']"])
    corpus, _ = stages.lay_out(settings)
    before = snapshot(corpus.folder)
    outcome = worker.pull(job(corpus.folder, "http://127.0.0.1:9", endpoint), corpus.shards[0], ("lat",))
    assert isinstance(outcome, Failure) and outcome.kind is GeocorpusError
    assert "does not answer" in outcome.sentence and "run the same command again" in outcome.sentence
    assert snapshot(corpus.folder) == before


def test_a_worker_whose_run_lost_the_corpus_writes_nothing(tmp_path: Path) -> None:
    settings = load("demo", [f"corpus.folder={frozen(tmp_path / 'c')}", "corpus.modalities=['lat']"])
    corpus, _ = stages.lay_out(settings)
    with Sandbox(Planet(0)) as earth, LimiterService(Limiter(2, 1e4), "secret", 30.0, lambda report: None) as served:
        with locked(corpus.folder):
            ours = replace(job(corpus.folder, earth.url, served.endpoint()), lock=token_of(corpus.folder))
        with locked(corpus.folder):
            before = snapshot(corpus.folder)
            outcome = worker.pull(ours, corpus.shards[0], ("lat",))
            assert isinstance(outcome, Failure) and outcome.kind is Unwritable
            assert "has taken over" in outcome.sentence
            assert snapshot(corpus.folder) == before
            ours = replace(ours, lock=token_of(corpus.folder))
            assert not isinstance(worker.pull(ours, corpus.shards[0], ("lat",)), Failure)


def test_a_disk_that_fails_a_worker_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "/data/corpus.zarr")

    monkeypatch.setattr(worker, "WorkerContext", full)
    outcome = worker.pull(job(tmp_path, "http://127.0.0.1:9", Endpoint("", 0, "")), Shard(0, 0, 1), ("lat",))
    assert isinstance(outcome, Failure) and outcome.kind is Unwritable
    assert "/data/corpus.zarr cannot be used there: No space left on device" in outcome.sentence


def test_a_port_that_is_taken_is_one_sentence() -> None:
    with LimiterService(Limiter(1, 1.0), "secret", 1.0, lambda report: None) as other:
        engine = Engine()
        with pytest.raises(Fatal, match=rf"cannot listen at 127.0.0.1:{other.port} .*; choose another cluster.port"):
            cluster._service(other.limiter, engine, Reported(engine, Noted()), "127.0.0.1", other.port)  # type: ignore[arg-type]


def test_two_runs_take_turns_in_one_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Earth Engine's client has one connection: a second run must not come in between."""
    opened: list[JobSpec] = []
    monkeypatch.setattr(worker, "WorkerContext", lambda job: opened.append(job) or job)
    post, log = _ContextSlot(), []
    one, other = (job(tmp_path / name, "http://127.0.0.1:9", Endpoint("", 0, "")) for name in ("a", "b"))

    def work() -> None:
        with post.acquired(other):
            log.append("other")

    with post.acquired(one), post.acquired(one):
        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.05)
        log.append("one")
    thread.join(timeout=5)
    assert log == ["one", "other"] and opened == [one, other]


def test_a_shard_is_pulled_at_the_pace_of_another_process(tmp_path: Path) -> None:
    """The worker's function as it is, here: what it reports, and that its limiter is the run's."""
    on_report: list[dict[str, Any]] = []
    settings = load("demo", [f"corpus.folder={frozen(tmp_path / 'c')}", "corpus.modalities=['lat','esa_worldcover']",
                             f"corpus.shard_rows={CHIPS}"])  # fmt: skip
    corpus, _ = stages.lay_out(settings)
    (shard,) = corpus.shards
    with Sandbox(Planet(0)) as earth, LimiterService(Limiter(2, 1e4), "secret", 30.0, on_report.append) as served:
        ours = JobSpec("run", Connection("demo", earth.url, concurrency=4), served.endpoint(), corpus.folder,
                      corpus.folder / "spool", ("lat", "esa_worldcover"), ())  # fmt: skip
        report = worker.pull(ours, shard, ("lat", "esa_worldcover"))
        assert not isinstance(report, Failure), report
        assert report.pulled == len(shard)
        assert earth.counters()["peak_concurrency"] <= 2
        total = earth.counters()["total"]
        again = worker.pull(ours, shard, ("lat", "esa_worldcover"))
        assert not isinstance(again, Failure) and again.pulled == 0, "as when the report of it was lost"
        assert earth.counters()["total"] == total
    assert not corpus.missing()
    assert max(item["chips"] for item in on_report) == len(shard)
    assert sum(item["figures"]["requests"] for item in on_report) == total


def test_nothing_to_do_starts_no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load("demo", [f"corpus.folder={frozen(tmp_path / 'c')}", "corpus.modalities=['lat']"])
    with stages.earth_engine(settings) as engine:
        stages.export(settings, engine, Silent())
        monkeypatch.setattr(cluster, "running", None)
        again = load("demo", [f"corpus.folder={tmp_path / 'c'}", "corpus.modalities=['lat']", "cluster.kind=local"])
        assert "All pixels are in" in stages.export(again, engine, Silent())


def test_the_command_line_takes_the_cluster(tmp_path: Path) -> None:
    outcome = geocorpus("export", "demo", f"corpus.folder={tmp_path}", "cluster.kind=address")
    assert outcome.returncode == 2 and "address and kind" in outcome.stderr
