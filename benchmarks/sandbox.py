"""CPU time of the sandbox itself: to anchor a location, to give a full-stack chip, and while it waits.

    python -m benchmarks.sandbox [--quick] [--before COMMIT]

The sandbox runs in a process of its own, so the client's work is not counted. The last line is one JSON object:
cpu_ms_per_chip (everything that the export of a 128-pixel chip of every modality costs, HTTP included),
cpu_ms_per_location_anchored, chips, share_planet and share_evaluator (of the export: making pixels and scenes, and
all other evaluation; the rest is HTTP), latency_cpu_share (CPU per second of simulated latency), and x_today: CPU of
the same chips' requests now, divided by that of the sandbox of an earlier commit, which answers them in turn;
chips_compared of them, and chips_that_differ.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

from benchmarks.anchoring import checked_out
from benchmarks.sandbox_before import BEFORE, Posted, compared
from flows import stages
from flows.progress.display import display
from flows.settings import Settings, parse
from pipeline.corpus import Corpus
from sandbox.planet import Planet
from sandbox.planet.dynamic_world import TileLabels
from sandbox.planet.raster import PlanetBand
from sandbox.service import server
from sandbox.service.main import spare_the_collector
from sandbox.service.protocol import Request
from sandbox.service.server import Sandbox

_LATENCY_S, _WAITING = 0.25, 16


@dataclass(frozen=True)
class Spent:
    """CPU seconds of the sandbox's process: all, those of evaluating expressions, and of those the planet's."""

    process: float
    evaluation: float
    planet: float

    def __sub__(self, before: Spent) -> Spent:
        return Spent(self.process - before.process, self.evaluation - before.evaluation, self.planet - before.planet)


class _PlanetClock:
    """Adds up the CPU time inside the planet; only the outermost call of a thread counts."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._inside = threading.local()
        self._lock = threading.Lock()

    def timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any) -> Any:
            if getattr(self._inside, "yes", False):
                return call(*arguments)
            self._inside.yes, start = True, time.thread_time()
            try:
                return call(*arguments)
            finally:
                self._inside.yes = False
                with self._lock:
                    self.seconds += time.thread_time() - start

        return wrapped


def _serve(pipe: Pipe) -> None:
    """The sandbox's process: answers "spent" with its CPU times, and numbers by setting the latency."""
    clock = _PlanetClock()
    catalogue = [(Planet, name) for name in ("images", "image", "table")]
    for owner, name in ((PlanetBand, "read"), (TileLabels, "counts"), *catalogue):
        setattr(owner, name, clock.timed(getattr(owner, name)))
    posted = _remembered()
    planet = Planet(0)
    spare_the_collector()
    with Sandbox(planet) as sandbox:
        pipe.send(sandbox.url)
        while (asked := pipe.recv()) is not None:
            if asked == "posted":
                pipe.send(posted)
            elif asked == "spent":
                evaluation = sandbox.counters()["evaluation_cpu_seconds"]
                pipe.send(Spent(time.process_time(), evaluation, clock.seconds))
            else:
                sandbox.set_latency(float(asked))


def _remembered() -> list[Posted]:
    """Every request with a body that this process answers from now on."""
    posted: list[Posted] = []
    parse = server.parse

    def remembering(method: str, target: str, raw: bytes, root_url: str) -> Request:
        if method == "POST":
            posted.append(Posted(target, raw))
        return parse(method, target, raw, root_url)

    setattr(server, "parse", remembering)  # noqa: B010  (as the clocks above)
    return posted


@dataclass(frozen=True)
class Process:
    """A sandbox in another process."""

    url: str
    pipe: Pipe

    def spent(self) -> Spent:
        self.pipe.send("spent")
        result: Spent = self.pipe.recv()
        return result

    def posted(self) -> list[Posted]:
        """The requests that it has answered."""
        self.pipe.send("posted")
        result: list[Posted] = self.pipe.recv()
        return result

    def cost_of(self, work: Callable[[], object]) -> Spent:
        """What the sandbox spends while `work` runs here."""
        before = self.spent()
        work()
        return self.spent() - before


@contextmanager
def sandbox_process() -> Iterator[Process]:
    """A sandbox of planet 0 in a process of its own, which ends with the block."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield Process(ours.recv(), ours)
    finally:
        ours.send(None)
        process.join(timeout=30)


def settings_for(folder: Path, url: str, locations: int, size_px: int = 128) -> Settings:
    """A full-stack corpus over all biomes."""
    return parse({
        "corpus": {"folder": str(folder), "size_px": size_px},
        "source": {"url": url},
        "sampling": {"locations": locations},
    })  # fmt: skip


def corpus_cost(sandbox: Process, locations: int, folder: Path) -> tuple[int, Spent, Spent]:
    """Chips that came, and what anchoring and exporting them cost the sandbox."""
    settings = settings_for(folder, sandbox.url, locations)
    with display() as progress, stages.earth_engine(settings) as engine:
        stages.sample(settings, engine, progress)
        anchoring = sandbox.cost_of(lambda: stages.anchor(settings, engine, progress))
        exporting = sandbox.cost_of(lambda: stages.export(settings, engine, progress))
    return len(Corpus.open(folder).manifest), anchoring, exporting


def latency_share(sandbox: Process, requests: int) -> float:
    """CPU seconds of the sandbox for each second that it makes a client wait."""
    body = json.dumps({"expression": {"result": "0", "values": {"0": {"constantValue": 1}}}}).encode()
    request = urllib.request.Request(f"{sandbox.url}/v1/projects/demo/value:compute", body)  # noqa: S310

    def ask(_: int) -> None:
        with urllib.request.urlopen(request) as reply:  # noqa: S310
            reply.read()

    sandbox.pipe.send(_LATENCY_S)
    with ThreadPoolExecutor(_WAITING) as pool:
        cost = sandbox.cost_of(lambda: list(pool.map(ask, range(requests))))
    return cost.process / (requests * _LATENCY_S)


def main() -> None:
    """Measure, print and give the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="32 locations in place of 128")
    parser.add_argument("--before", default=BEFORE, metavar="COMMIT", help="the sandbox to compare with")
    options = parser.parse_args()
    locations = 32 if options.quick else 128
    with sandbox_process() as sandbox, tempfile.TemporaryDirectory() as folder:
        corpus_cost(sandbox, 4, Path(folder) / "warm")
        chips, anchoring, exporting = corpus_cost(sandbox, locations, Path(folder) / "measured")
        requests = sandbox.posted()
        waiting = latency_share(sandbox, 4 * _WAITING)
        with checked_out(options.before, Path(folder) / "checkout") as checkout:
            both = compared(requests, checkout)
    print(json.dumps({
        "cpu_ms_per_chip": round(1e3 * exporting.process / chips, 1),
        "cpu_ms_per_location_anchored": round(1e3 * anchoring.process / chips, 1),
        "chips": chips,
        "share_planet": round(exporting.planet / exporting.process, 3),
        "share_evaluator": round((exporting.evaluation - exporting.planet) / exporting.process, 3),
        "latency_cpu_share": round(waiting, 4),
        "x_today": round(both.now_s / both.before_s, 3),
        "chips_compared": both.chips,
        "chips_that_differ": both.differing,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
