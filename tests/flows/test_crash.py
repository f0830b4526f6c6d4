"""kill -9 at any moment, then the same command again: the same bytes, and nothing paid for is pulled twice."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from tests.flows.jobs import STAGES, counters, differences, geocorpus, reset, run_stages, sandbox, snapshot, start

CONCURRENCY = 4
LATENCY_S = 0.15
KILLS_AT_MOST = 40

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("crash"), pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Job:
    """A small job: its settings for a folder, and what an uninterrupted run made and cost."""

    url: str
    folder: Path
    whole: dict[str, bytes]
    pixel_requests: int

    def overrides(self, folder: Path) -> list[str]:
        return settings(self.url, folder)


def settings(url: str, folder: Path) -> list[str]:
    return [
        f"corpus.folder={folder}", f"source.url={url}", f"source.concurrency={CONCURRENCY}", "corpus.size_px=32",
        "corpus.shard_rows=8", "sampling.locations=20", "anchor.batch=10",
        "corpus.modalities=['sentinel2', 'esa_worldcover', 'era5', 'biome', 'eco_region']",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Job]:
    folder = tmp_path_factory.mktemp("whole") / "corpus"
    with sandbox("--latency", str(LATENCY_S)) as url:
        run_stages(settings(url, folder))
        yield Job(url, folder, snapshot(folder), counters(url)["requests"]["image:computePixels"])


def run_killing(stage: str, overrides: list[str], chance: random.Random, longest_s: float) -> int:
    """Run a stage again and again, killing it at random moments, until it comes through; returns the kills."""
    for kills in range(KILLS_AT_MOST):
        process = start(stage, "demo", *overrides)
        deadline = time.monotonic() + chance.uniform(0.3, longest_s)
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        if process.poll() is None:
            process.kill()
        _, errors = process.communicate()
        if process.returncode == 0:
            return kills
        assert process.returncode == -9, errors
        longest_s *= 1.2
    raise AssertionError(f"{stage} never came through")


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_any_moment(job: Job, tmp_path: Path, seed: int) -> None:
    folder = tmp_path / "corpus"
    chance = random.Random(seed)
    reset(job.url)
    kills = {stage: run_killing(stage, job.overrides(folder), chance, 2.5) for stage in STAGES}
    assert differences(snapshot(folder), job.whole) == []
    assert sum(kills.values()) >= 3, f"hardly killed: {kills}"
    pulled = counters(job.url)["expressions"]["image:computePixels"]
    assert pulled["distinct"] == job.pixel_requests
    assert pulled["requests"] <= job.pixel_requests + kills["export"] * CONCURRENCY


def test_killed_in_the_middle_of_the_export(job: Job, tmp_path: Path) -> None:
    """Killed once some chips are in the spool: those are never asked for again."""
    folder = tmp_path / "corpus"
    run_stages(job.overrides(folder), ("sample", "anchor"))
    reset(job.url)
    process = start("export", "demo", *job.overrides(folder))
    while len(list((folder / "spool").rglob("[0-9]*.chip"))) < 5 and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    written = 8 * len(list((folder / "ledger").rglob("*/*.json"))) // 5
    kept = len(list((folder / "spool").rglob("[0-9]*.chip"))) + written
    assert kept >= 5
    reset(job.url)
    run_stages(job.overrides(folder), ("export", "finalize"))
    # Distinct ones, for what the killed process had sent may be counted only now; but no kept chip was among that.
    assert counters(job.url)["expressions"]["image:computePixels"]["distinct"] <= job.pixel_requests - kept
    assert differences(snapshot(folder), job.whole) == []


def test_running_a_finished_job_again_asks_for_nothing(job: Job, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    run_stages(job.overrides(folder))
    before = snapshot(folder)
    reset(job.url)
    run_stages(job.overrides(folder))
    assert snapshot(folder) == before
    assert "image:computePixels" not in counters(job.url)["requests"]


def test_a_lost_shard_is_pulled_again(job: Job, tmp_path: Path) -> None:
    """A ledger entry deleted by hand, or an object lost: verify tells, export mends."""
    folder = tmp_path / "corpus"
    run_stages(job.overrides(folder))
    shutil.rmtree(folder / "corpus.zarr" / "sentinel2" / "c" / "1")
    assert geocorpus("verify", str(folder)).returncode == 2
    (folder / "ledger" / "sentinel2" / "00001.json").unlink()
    run_stages(job.overrides(folder), ("export", "finalize"))
    assert geocorpus("verify", str(folder)).returncode == 0
    assert differences(snapshot(folder), job.whole) == []


def descendants_gone(pids: list[int], within_s: float) -> bool:
    """Whether none of the processes lives any more, soon."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.2)
    return False


def children_of(pid: int) -> list[int]:
    """Process ids below a process, at any depth (Linux)."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    children = [child for child, parent in parents.items() if parent == pid]
    return [item for child in children for item in (child, *children_of(child))]


def test_the_build_flow_killed_and_run_again(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Prefect flow makes the same bytes, and kill -9 leaves no server behind."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("process trees are read from /proc")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    folder = tmp_path / "corpus"
    process = start("build", "demo", *job.overrides(folder))
    while not list((folder / "spool").rglob("[0-9]*.chip")) and process.poll() is None:
        time.sleep(0.05)
    servers = children_of(process.pid)
    process.kill()
    process.communicate()
    assert servers, "the flow had started no server"
    assert descendants_gone(servers, within_s=20)
    outcome = geocorpus("build", "demo", *job.overrides(folder))
    assert outcome.returncode == 0, outcome.stderr
    assert "report.html" in outcome.stdout
    assert differences(snapshot(folder), job.whole) == []


# A terminal sends SIGINT, SIGHUP and SIGQUIT to the whole process group; `kill` SIGTERM to one process.
@pytest.mark.parametrize(
    ("stage", "number", "send"),
    [
        ("export", signal.SIGINT, os.killpg),
        ("build", signal.SIGINT, os.killpg),
        ("build", signal.SIGTERM, os.kill),
        ("build", signal.SIGTERM, os.killpg),
        ("export", signal.SIGTERM, os.kill),
        ("export", signal.SIGHUP, os.killpg),
        ("export", signal.SIGQUIT, os.killpg),
    ],
)
def test_a_signal_ends_everything_in_good_order(
    job: Job, tmp_path: Path, stage: str, number: int, send: Callable[[int, int], None]
) -> None:
    """While our own sandbox and servers run: they end, the lock is released, and the spool stays."""
    folder = tmp_path / "corpus"
    ours = [one for one in job.overrides(folder) if not one.startswith("source.url")] + ["source.sandbox_latency_s=1"]
    if stage == "export":
        run_stages(ours, ("sample", "anchor"))
    process = start(stage, "demo", *ours, group=True)
    wait_for(lambda: len(children_of(process.pid)) > 0 and (folder / "config.toml").exists(), process)
    wait_for(lambda: bool(spooled(folder)), process)
    children = children_of(process.pid)
    send(process.pid, number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert errors.count("stopped; run the same command again") == 1 and "Traceback" not in errors
    assert descendants_gone(children, within_s=20)
    assert spooled(folder) and not {".lock", "progress.json"} & {path.name for path in folder.iterdir()}


def spooled(folder: Path) -> list[Path]:
    return list((folder / "spool").rglob("[0-9]*.chip"))


def wait_for(met: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Until `met`; the process must not end before."""
    while not met():
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)


def test_build_and_the_stages_make_the_same_corpus_of_points(job: Job, tmp_path: Path) -> None:
    points = tmp_path / "points.csv"
    locations = pd.read_parquet(job.folder / "locations.parquet")
    locations[["lon", "lat"]].head(3).to_csv(points, index=False)
    made = []
    for name in ("stages", "build"):
        ours = [*job.overrides(tmp_path / name / "c"), f"sampling.points={points}"]
        if name == "build":
            assert geocorpus("build", "demo", *ours).returncode == 0
        else:
            run_stages(ours)
        made.append(snapshot(tmp_path / name / "c"))
    assert differences(*made) == []
    biomes = pd.read_parquet(tmp_path / "build" / "c" / "locations.parquet")["biome"]
    assert (biomes > 0).all()
