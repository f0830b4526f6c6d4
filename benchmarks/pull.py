"""The export of whole chips against a service with quotas: how near its limit, how many refusals, what CPU.

    python -m benchmarks.pull [--quick] [--parts]

A sandbox in a process of its own answers after 0.25 s from a pool of ready chips, with its quotas on: so the client is
what is measured. Each case is one corpus, exported by the stage that `geocorpus export` calls, between two runs of the
bare client: as many threads that ask for the same pixels and read them, without limits, checks or files. "all" is every
modality but the climate, whose answers the sandbox would compute (a request for 128 chips: 0.008 a chip more); 100
requests a second of it are more than two cores can build graphs for, with the bare client too, so that case has one
modality, as when one is added to a corpus. `--parts` shows where a chip's CPU time goes. The last line is one JSON
object: the worst case's requests_per_chip, fraction_of_limit, share_429 and client_cpu_ratio, and the cases.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import ee
import numpy as np

from benchmarks import places, service
from benchmarks.service import Service
from exporters import catalog
from exporters.earth_engine.client import Connection, EarthEngine, connect, grid_request
from exporters.pull import encoding
from exporters.pull.pull import Puller
from exporters.sources import Local, Pixels, Region, source_of
from flows import stages
from flows.settings import Settings, parse
from pipeline.chip import Chip
from pipeline.corpus import MANIFEST
from pipeline.manifest import Manifest
from pipeline.modality import Modality
from pipeline.progress import Silent
from pipeline.shard import Shard
from pipeline.spool import ChipResult, Spool

LATENCY_S = 0.25
VARIANTS = 4
PLACES = 48
_WARM = 0.25  # of the chips; the last tenth is left out, too
_LAST = 0.9


@dataclass(frozen=True)
class Case:
    """What is exported, what the service admits, and by how many processes it is asked."""

    chips: int
    size_px: int
    at_once: int
    requests_per_s: float = 100.0
    workers: int = 1
    shard_rows: int = 512
    modalities: tuple[str, ...] = ()  # none: all

    @property
    def limit(self) -> float:
        """Chips a second that the service allows, at one request each."""
        return min(self.at_once / LATENCY_S, self.requests_per_s)


FULL = (Case(2048, 128, 4), Case(4096, 64, 8), Case(8192, 32, 40, workers=2, modalities=("esa_worldcover",)))
QUICK = (Case(512, 64, 4, shard_rows=128),)


@dataclass
class Moments(Silent):
    """Progress that remembers when chips came."""

    came: list[tuple[float, int]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def advance(self, count: int = 1) -> None:
        """Chips came."""
        with self._lock:
            self.came.append((time.monotonic(), count))

    def when(self, chips: int) -> float:
        """The moment at which so many had come."""
        moments, counts = zip(*self.came, strict=True)
        return float(moments[int(np.searchsorted(np.cumsum(counts), chips))])

    def total(self) -> int:
        """Chips so far."""
        with self._lock:
            return sum(count for _, count in self.came)


@dataclass(frozen=True)
class Outcome:
    """One case: rates in chips a second, CPU in milliseconds a chip; `cores_busy` of client and sandbox together."""

    case: Case
    chips_per_s: float
    requests_per_chip: float
    share_429: float
    cpu_ms: float
    bare_cpu_ms: float
    sandbox_cpu_ms: float
    cores_busy: float

    @property
    def fraction_of_limit(self) -> float:
        """Of what the service allows."""
        return self.chips_per_s / self.case.limit

    @property
    def client_cpu_ratio(self) -> float:
        """Ours over the bare client's."""
        return self.cpu_ms / self.bare_cpu_ms


def cpu_s() -> float:
    """CPU seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


def layers_of(manifest: Manifest, kind: type, names: Sequence[str] = ()) -> list[Modality]:
    """The layers with this kind of source, of all or of these modalities."""
    chosen = catalog.bound(catalog.modalities(names or None), manifest)
    return [layer for layer in chosen if isinstance(source_of(layer), kind)]


def bare(url: str, manifest: Manifest, case: Case) -> float:
    """CPU milliseconds per chip of the client alone, in as many threads, for the pixels of the same chips."""
    # Twice, because the first transport is ours: here the client uses its own.
    connect(Connection("bare", url=url))
    ee.Reset()
    ee.Initialize(None, url=url, project="bare")
    layers, chips = layers_of(manifest, Pixels, case.modalities), [manifest[row] for row in range(len(manifest))]

    def pull(chip: Chip) -> None:
        request = {"expression": image_of(chip, layers), "fileFormat": "NPY", "grid": grid_request(chip.grid)}
        np.load(io.BytesIO(ee.data.computePixels(request)))

    started = cpu_s()
    with ThreadPoolExecutor(case.at_once) as pool:
        list(pool.map(pull, chips))
    return 1e3 * (cpu_s() - started) / len(chips)


def image_of(chip: Chip, layers: Sequence[Modality]) -> ee.Image:
    """Every layer that the chip can have, as the export asks for it."""
    sources = [(layer, source_of(layer)) for layer in layers]
    return ee.Image.cat([
        encoding.stored_image(layer, source, chip)
        for layer, source in sources
        if isinstance(source, Pixels) and not source.absent(chip)
    ])  # fmt: skip


def settings_of(case: Case, folder: Path, url: str) -> Settings:
    """The case as a user would write it."""
    return parse({
        "corpus": {
            "folder": str(folder), "size_px": case.size_px, "shard_rows": case.shard_rows,
            "modalities": case.modalities
            or [item.name for item in catalog.modalities() if not isinstance(source_of(item), Region)],
        },
        "source": {"url": url, "concurrency": case.at_once, "requests_per_s": case.requests_per_s},
        "cluster": {"kind": "local", "workers": case.workers} if case.workers > 1 else {},
    })  # fmt: skip


@contextmanager
def watched(moments: Moments, engine: EarthEngine, chips: int) -> Iterator[list[tuple[int, int]]]:
    """Requests and refusals at the moment when so many chips had come, once that was."""
    seen: list[tuple[int, int]] = []
    over = threading.Event()

    def watch() -> None:
        while moments.total() < chips and not over.wait(0.05):
            pass
        figures = engine.figures()
        seen.append((figures.requests, figures.throttled))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield seen
    over.set()
    thread.join()


def measured(case: Case, sandbox: Service, base: Manifest, folder: Path) -> Outcome:
    """Export one corpus between two runs of the bare client."""
    manifest = places.neighbours(base, case.chips)
    few = places.neighbours(base, min(case.chips, 400))
    bare(sandbox.url, few, case)  # fills the pool
    before = bare(sandbox.url, few, case)
    exported = _exported(case, sandbox, manifest, folder)
    between = (before + bare(sandbox.url, few, case)) / 2
    return exported(between)


def _exported(case: Case, sandbox: Service, manifest: Manifest, folder: Path) -> Callable[[float], Outcome]:
    settings, moments = settings_of(case, folder, sandbox.url), Moments()
    manifest.write(folder / MANIFEST)
    started, of_sandbox, began_s = cpu_s(), sandbox.cpu_s(), time.monotonic()
    with stages.earth_engine(settings) as engine:
        with watched(moments, engine, round(_WARM * case.chips)) as warm:
            stages.export(settings, engine, moments)
        figures = engine.figures()
    spent, theirs = cpu_s() - started, sandbox.cpu_s() - of_sandbox
    took_s = time.monotonic() - began_s
    first, last = round(_WARM * case.chips), round(_LAST * case.chips)
    late = figures.requests - warm[0][0]
    return lambda bare_ms: Outcome(
        case,
        (last - first) / (moments.when(last) - moments.when(first)),
        figures.requests / case.chips,
        (figures.throttled - warm[0][1]) / max(1, late),
        1e3 * spent / case.chips,
        bare_ms,
        1e3 * theirs / case.chips,
        (spent + theirs) / took_s,
    )


def parts(sandbox: Service, base: Manifest, folder: Path, count: int = 100) -> list[tuple[str, float]]:
    """CPU milliseconds per chip of the client's steps, one thread, nothing else at work."""
    engine = connect(Connection("parts", url=sandbox.url, requests_per_s=1e6))
    manifest = places.neighbours(base, count)
    layers, chips = layers_of(manifest, Pixels), [manifest[row] for row in range(count)]
    near, shard, spool = layers_of(manifest, Local), Shard(0, 0, count), Spool(folder / "spool")
    puller = Puller(engine)
    graphs: list[Any] = []
    pulled: list[ChipResult] = []
    for chip in chips:  # the pool may lack some
        puller.pixels(chip, layers)
    return [
        ("graph built", _each(chips, lambda chip: graphs.append(image_of(chip, layers)))),
        ("graph as JSON", _each(graphs, ee.serializer.encode)),
        ("all of a pull, with those", _each(chips, lambda chip: pulled.append(puller.pixels(chip, layers)))),
        ("local layers", _each(chips, lambda chip: puller.local(chip, near))),
        ("spool", _each(list(enumerate(pulled)), lambda item: spool.put(shard, item[0], item[1]))),
    ]


def _each(items: Sequence[Any], work: Callable[[Any], object]) -> float:
    started = time.thread_time()
    for item in items:
        work(item)
    return 1e3 * (time.thread_time() - started) / len(items)


def show(outcomes: Sequence[Outcome]) -> None:
    """One column a case."""
    rows: list[tuple[str, Callable[[Outcome], str]]] = [
        ("chips", lambda one: f"{one.case.chips:,}"),
        ("pixels", lambda one: f"{one.case.size_px}"),
        ("modalities", lambda one: str(len(one.case.modalities) or "all")),
        ("processes", lambda one: f"{one.case.workers}"),
        ("at once; a second", lambda one: f"{one.case.at_once}; {one.case.requests_per_s:g}"),
        ("limit, chips a second", lambda one: f"{one.case.limit:.1f}"),
        ("chips a second after warm-up", lambda one: f"{one.chips_per_s:.1f}"),
        ("fraction of the limit", lambda one: f"{one.fraction_of_limit:.3f}"),
        ("requests per chip", lambda one: f"{one.requests_per_chip:.3f}"),
        ("share of 429 after warm-up", lambda one: f"{one.share_429:.4%}"),
        ("CPU ms per chip: ours", lambda one: f"{one.cpu_ms:.1f}"),
        ("CPU ms per chip: bare client", lambda one: f"{one.bare_cpu_ms:.1f}"),
        ("CPU ms per chip: sandbox", lambda one: f"{one.sandbox_cpu_ms:.1f}"),
        ("cores busy", lambda one: f"{one.cores_busy:.2f} of {os.cpu_count()}"),
    ]
    for name, value in rows:
        print(f"{name:<34}" + "".join(f"{value(one):>14}" for one in outcomes))


def main() -> None:
    """Measure every case, print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one small case")
    parser.add_argument("--parts", action="store_true", help="where a chip's CPU time goes")
    options = parser.parse_args()
    outcomes = []
    for case in QUICK if options.quick else FULL:
        limits = ("--concurrent", str(case.at_once), "--rate", str(case.requests_per_s))
        answers = ("--latency", str(LATENCY_S), "--ready", str(VARIANTS))
        with service.running(*answers, *limits) as sandbox, tempfile.TemporaryDirectory() as folder:
            engine = connect(Connection("places", url=sandbox.url))
            base = places.anchored(engine, Path(folder) / "places", PLACES, case.size_px)
            outcomes.append(measured(case, sandbox, base, Path(folder) / "corpus"))
            if options.parts:
                for name, milliseconds in parts(sandbox, base, Path(folder)):
                    print(f"  {case.size_px} px, {name:<34}{milliseconds:6.2f} ms")
    show(outcomes)
    print(json.dumps({
        "requests_per_chip": round(max(item.requests_per_chip for item in outcomes), 3),
        "fraction_of_limit": round(min(item.fraction_of_limit for item in outcomes), 3),
        "share_429": round(max(item.share_429 for item in outcomes), 5),
        "client_cpu_ratio": round(max(item.client_cpu_ratio for item in outcomes), 2),
        "cases": [asdict(item.case) | {"chips_per_s": round(item.chips_per_s, 1)} for item in outcomes],
    }))  # fmt: skip


if __name__ == "__main__":
    main()
