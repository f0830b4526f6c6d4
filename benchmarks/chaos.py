"""kill -9 at random: an export whose workers, scheduler and main process die again and again, at a service with faults.

Whatever dies, the same command is given again until it comes through. Then the store must have the bytes of an
undisturbed run, nothing that was kept may have been pulled again, and the service may never have seen more requests at
once than were configured. Prints a table and one JSON line; ends with code 1 where one of that does not hold.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks.dask_processes import DaskProcesses, dask_processes
from pipeline.chip import Acquisition, Chip, Scene
from pipeline.corpus_folder import MANIFEST
from pipeline.grid import Grid, utm_crs
from pipeline.location import Location, location_id
from pipeline.manifest import Manifest

ROOT = Path(__file__).resolve().parent.parent
SIZE_PX = 12
LAYERS = "['esa_worldcover', 'era5', 'lat']"
FAULTS = ("503=0.01", "500=0.01", "reset=0.01", "truncated=0.01", "slow=0.01")
BROKEN = ("reset", "truncated")  # answers that the service computed and nobody got
WORKERS = 2
_NO_VARIABLES: Mapping[str, str] = {}
_URL = re.compile(r"http://127\.0\.0\.1:\d+")


@dataclass(frozen=True)
class Plan:
    """How much is pulled, how, and how often something dies (`every_s`, on average): for so long, and so often."""

    chips: int
    shard_rows: int
    cap: int
    latency_s: float
    every_s: float
    for_s: float
    kills_at_least: int = 1
    seed: int = 0


@dataclass
class Outcome:
    """What became of it. `again` are pixel requests beyond one a chip, save those whose answer the service broke;
    `said` is how launches ended that nobody killed; `differing` are files that are not as undisturbed.
    """

    differing: list[str]
    peak: int
    again: int
    kills: Counter[str] = field(default_factory=Counter)
    launches: int = 0
    said: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def holds(self, plan: Plan) -> bool:
        """Whether all is as it should be: what a death may cost is the requests in flight and the replies in hand."""
        return not self.differing and self.peak <= plan.cap and self.again <= self.kills.total() * (plan.cap + WORKERS)


def manifest_of(count: int) -> Manifest:
    """Chips a kilometre apart in one UTM zone."""
    scene = Scene("COPERNICUS/S2_HARMONIZED/none", datetime(2019, 6, 1, tzinfo=UTC))
    chips = []
    for index in range(count):
        lonlat = (9.0 + 0.013 * (index % 60), 46.0 + 0.009 * (index // 60))
        location = Location(location_id(*lonlat), *lonlat, "7", 4, "Temperate", 664, "Somewhere", "Palearctic")
        chips.append(Chip(location, Grid.around(lonlat, utm_crs(lonlat), SIZE_PX), Acquisition(scene, "l1c")))
    return Manifest.freeze(chips, 0)


@contextmanager
def sandbox(latency_s: float, faults: tuple[str, ...] = ()) -> Iterator[str]:
    """A sandbox process that enforces no quota, so that what it counts is what came; yields its URL."""
    options = [part for fault in faults for part in ("--fault", f"image:computePixels/{fault}")]
    command = [sys.executable, "-m", "sandbox", "--port", "0", "--with-parent", "--no-quotas", "--latency",
               str(latency_s), *options]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        yield next(result.group() for line in process.stdout if (result := _URL.search(line)))
    finally:
        process.terminate()
        process.wait(timeout=30)


def counters(url: str) -> dict[str, Any]:
    """What the sandbox was asked so far."""
    with urllib.request.urlopen(f"{url}/sandbox/counters") as response:  # noqa: S310
        return dict(json.load(response))


def export(
    plan: Plan, url: str, folder: Path, *more: str, environment: Mapping[str, str] = _NO_VARIABLES
) -> subprocess.Popen[str]:
    """`geocorpus export`, running, with more environment variables."""
    command = [
        sys.executable, "-m", "flows.terminal.cli", "export", "demo", f"corpus.folder={folder}", f"source.url={url}",
        f"source.concurrency={plan.cap}", "source.deadline_s=60", f"corpus.shard_rows={plan.shard_rows}",
        f"corpus.modalities={LAYERS}", *more,
    ]  # fmt: skip
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | dict(environment),
    )


def digests(folder: Path) -> dict[str, str]:
    """All that an export leaves behind, save its settings and its bill."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in ("config.toml", "usage.json")]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def undisturbed(plan: Plan, folder: Path) -> dict[str, str]:
    """What the same export makes in one process, at a service without faults."""
    manifest_of(plan.chips).write(folder / MANIFEST)
    with sandbox(0.0) as url:
        process = export(plan, url, folder)
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    return digests(folder)


class Tormentor:
    """Launches the export until it comes through, and kills what belongs to it at moments drawn from the seed."""

    def __init__(self, plan: Plan, url: str, folder: Path) -> None:
        self.plan, self.url, self.folder = plan, url, folder
        self.kills: Counter[str] = Counter()
        self.launches = 0
        self.said: list[str] = []
        self._chance = random.Random(plan.seed)  # noqa: S311 - moments of death
        self._until_s = time.monotonic() + plan.for_s

    def run(self) -> None:
        """Until all is pulled."""
        with dask_processes(WORKERS) as dask:
            while not self._came_through(dask):
                pass

    def _came_through(self, dask: DaskProcesses) -> bool:
        """One launch: on workers of its own, or on those of a scheduler that runs already."""
        self.launches += 1
        local = self._chance.random() < 0.5
        where = ("local", f"cluster.workers={WORKERS}") if local else ("address", f"cluster.address={dask.address}")
        overrides = (f"cluster.kind={where[0]}", where[1])
        process = export(self.plan, self.url, self.folder, *overrides, environment=dask.environment)
        try:
            while process.poll() is None:
                self._wait(process)
                if process.poll() is None and self._goes_on():
                    self._strike(process, dask, local)
                dask.mend(WORKERS)
        finally:
            process.kill()
            _, errors = process.communicate()
        # A scheduler that died before the run had reached it is for a person to start again.
        without_scheduler = process.returncode == 2 and "no Dask scheduler lets this process in" in errors and not local
        if process.returncode not in (0, 1, -9) and not without_scheduler or "Traceback" in errors:
            raise AssertionError(f"ended with code {process.returncode}:\n{errors}")
        if process.returncode in (1, 2):
            self.said.append(errors.splitlines()[-1])
        return process.returncode == 0

    def _goes_on(self) -> bool:
        return time.monotonic() < self._until_s or self.kills.total() < self.plan.kills_at_least

    def _wait(self, process: subprocess.Popen[str]) -> None:
        """A while, or until the process ends."""
        end_s = time.monotonic() + self._chance.uniform(0.2, 1.8) * self.plan.every_s
        while process.poll() is None and time.monotonic() < end_s:
            time.sleep(0.05)

    def _strike(self, process: subprocess.Popen[str], dask: DaskProcesses, local: bool) -> None:
        victim = self._chance.choice(("worker", "worker", "main") if local else ("worker", "scheduler", "main"))
        if victim == "main":
            process.kill()
        elif victim == "scheduler":
            dask.scheduler.kill()
        elif local:
            workers = workers_of(process.pid)
            if not workers:
                return  # it has only just begun
            self._chance.choice(workers).kill()
        else:
            self._chance.choice(dask.workers).kill()
        self.kills[victim] += 1


def workers_of(pid: int) -> list[psutil.Process]:
    """The worker processes that a run has started itself."""
    try:
        below = psutil.Process(pid).children(recursive=True)
        return [item for item in below if any("spawn_main" in word for word in item.cmdline())]
    except psutil.Error:
        return []


def chaos(plan: Plan, folder: Path) -> Outcome:
    """Run it all in `folder`."""
    wanted = undisturbed(plan, folder / "undisturbed")
    manifest_of(plan.chips).write(folder / "chaos" / MANIFEST)
    with sandbox(plan.latency_s, FAULTS) as url:
        began_s = time.monotonic()
        tormentor = Tormentor(plan, url, folder / "chaos")
        tormentor.run()
        seconds = time.monotonic() - began_s
        while counters(url)["in_flight"]:
            time.sleep(0.1)
        seen = counters(url)
    pixels = seen["expressions"]["image:computePixels"]
    again = pixels["requests"] - plan.chips - sum(seen["faults"].get(kind, 0) for kind in BROKEN)
    made = digests(folder / "chaos")
    differing = sorted(name for name in made.keys() | wanted.keys() if made.get(name) != wanted.get(name))
    peak = seen["peak_concurrency"]
    return Outcome(differing, peak, again, tormentor.kills, tormentor.launches, tormentor.said, seconds)


def plan_of(minutes: float, seed: int) -> Plan:
    """Work for about that long, with a death every eight seconds during most of it."""
    cap, latency_s = 8, 0.25
    chips = max(64, round(0.3 * minutes * 60 * cap / latency_s))
    return Plan(chips, 64, cap, latency_s, every_s=8.0, for_s=0.9 * 60 * minutes, seed=seed)


def main() -> int:
    """Run, print and give the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="about how long it is tormented")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a minute")
    options = parser.parse_args()
    plan = plan_of(1.0 if options.quick else options.minutes, options.seed)
    with tempfile.TemporaryDirectory() as folder:
        outcome = chaos(plan, Path(folder))
    for name, value in (
        ("chips", plan.chips),
        ("seconds", f"{outcome.seconds:.0f}"),
        ("killed", ", ".join(f"{count} x {name}" for name, count in sorted(outcome.kills.items()))),
        ("launches", outcome.launches),
        ("files that differ from undisturbed", len(outcome.differing)),
        ("most at once, of", f"{outcome.peak} of {plan.cap}"),
        ("pixel requests made again, per death", f"{outcome.again}, {outcome.again / outcome.kills.total():.1f}"),
    ):  # fmt: skip
        print(f"{name:<40}{value!s:>32}")
    for name in (*outcome.said, *outcome.differing[:10]):
        print(f"  {name}")
    print(json.dumps({
        "kills": outcome.kills.total(), "launches": outcome.launches, "identical": not outcome.differing,
        "peak_at_once": outcome.peak, "cap": plan.cap, "pulled_again": outcome.again, "holds": outcome.holds(plan),
    }))  # fmt: skip
    return 0 if outcome.holds(plan) else 1


if __name__ == "__main__":
    sys.exit(main())
