"""One case of `benchmarks.pull`: pairs of the bare client and an export, one after the other, and their medians."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks import bare_client, places, service, shares
from benchmarks.service import Service
from exporters import catalog
from exporters.earth_engine.client import Connection, EarthEngine, connect
from exporters.sources import Region, source_of
from flows import stages
from flows.settings import Settings, parse
from pipeline.corpus import Corpus
from pipeline.corpus_folder import MANIFEST
from pipeline.manifest import Manifest
from pipeline.progress import Silent

LATENCY_S = 0.25
VARIANTS = 4
PLACES = 48
_WARM = 0.25  # of the chips; the last tenth is left out, too
_LAST = 0.9
_BARE_CHIPS = 400
_COMPRESSED_CHIPS = 64


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


CASES = {
    "whole": Case(2048, 128, 4),
    "smaller": Case(4096, 64, 8),
    "added": Case(8192, 32, 40, workers=2, modalities=("esa_worldcover",)),
}
QUICK = Case(512, 64, 4, shard_rows=128)


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
    """One export: chips a second, CPU in milliseconds a chip; `cores_busy` of client and sandbox together."""

    chips_per_s: float
    requests_per_chip: float
    share_429: float
    cpu_ms: float
    sandbox_cpu_ms: float
    cores_busy: float
    compression_ms: float = 0.0
    bare_cpu_ms: float = 1.0

    @property
    def ratio_whole(self) -> float:
        """Our CPU over the bare client's."""
        return self.cpu_ms / self.bare_cpu_ms

    @property
    def ratio(self) -> float:
        """The same without what compression takes of ours: the bare client compresses nothing."""
        return (self.cpu_ms - self.compression_ms) / self.bare_cpu_ms


@dataclass(frozen=True)
class Outcomes:
    """The pairs of one case."""

    case: Case
    pairs: tuple[Outcome, ...]

    def median(self, name: str) -> float:
        """The median of an attribute of `Outcome`."""
        return float(median(getattr(pair, name) for pair in self.pairs))

    @property
    def fraction_of_limit(self) -> float:
        """Of what the service allows."""
        return self.median("chips_per_s") / self.case.limit


def cpu_s() -> float:
    """CPU seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


def measured(case: Case, pairs: int, with_shares: bool) -> Outcomes:
    """So many pairs, each of one sandbox; with another export in one process to see where its time goes."""
    limits = ("--concurrent", str(case.at_once), "--rate", str(case.requests_per_s))
    answers = ("--latency", str(LATENCY_S), "--ready", str(VARIANTS))
    with service.running(*answers, *limits) as sandbox, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        engine = connect(Connection("places", url=sandbox.url))
        base = places.anchored(engine, folder / "places", PLACES, case.size_px)
        few = folder / "few.parquet"
        places.neighbours(base, min(case.chips, _BARE_CHIPS)).write(few)
        _bare(case, sandbox, few)  # fills the pool of answers
        manifest = places.neighbours(base, case.chips)
        outcomes = [_pair(case, sandbox, few, manifest, folder / f"corpus-{number}") for number in range(pairs)]
        if with_shares:
            _show_shares(replace(case, workers=1), sandbox, manifest, folder / "shares")
        return Outcomes(case, tuple(outcomes))


def _pair(case: Case, sandbox: Service, few: Path, manifest: Manifest, folder: Path) -> Outcome:
    bare_ms = _bare(case, sandbox, few)
    outcome = _exported(case, sandbox, manifest, folder)
    return replace(outcome, bare_cpu_ms=bare_ms, compression_ms=_compression_ms(folder))


def _bare(case: Case, sandbox: Service, few: Path) -> float:
    return bare_client.measured(sandbox.url, few, min(case.chips, _BARE_CHIPS), case.at_once, case.modalities)


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
def _watched(moments: Moments, engine: EarthEngine, chips: int) -> Iterator[list[tuple[int, int]]]:
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
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _exported(case: Case, sandbox: Service, manifest: Manifest, folder: Path) -> Outcome:
    settings, moments = settings_of(case, folder, sandbox.url), Moments()
    manifest.write(folder / MANIFEST)
    started, of_sandbox, began_s = cpu_s(), sandbox.cpu_s(), time.monotonic()
    with stages.earth_engine(settings) as engine:
        with _watched(moments, engine, round(_WARM * case.chips)) as warm:
            stages.export(settings, engine, moments)
        figures = engine.figures()
    spent, theirs = cpu_s() - started, sandbox.cpu_s() - of_sandbox
    took_s = time.monotonic() - began_s
    first, last = round(_WARM * case.chips), round(_LAST * case.chips)
    return Outcome(
        chips_per_s=(last - first) / (moments.when(last) - moments.when(first)),
        requests_per_chip=figures.requests / case.chips,
        share_429=(figures.throttled - warm[0][1]) / max(1, figures.requests - warm[0][0]),
        cpu_ms=1e3 * spent / case.chips,
        sandbox_cpu_ms=1e3 * theirs / case.chips,
        cores_busy=(spent + theirs) / took_s,
    )


def _compression_ms(folder: Path) -> float:
    """What compression takes of a chip: some of the stored ones, compressed again as the export does."""
    corpus = Corpus.open(folder)
    count, spent_s = min(_COMPRESSED_CHIPS, len(corpus.manifest)), 0.0
    for name in corpus.modalities:
        codec = corpus.chip_codec(name)
        if codec is None:
            continue
        for chip in corpus.read(name, slice(0, count)):
            began_s = time.thread_time()
            codec.compressed(chip)
            spent_s += time.thread_time() - began_s
    return 1e3 * spent_s / count


def _show_shares(case: Case, sandbox: Service, manifest: Manifest, folder: Path) -> None:
    with shares.counted() as counted:
        outcome = _exported(case, sandbox, manifest, folder)
    print(f"{case.size_px} px, one process, timed: {outcome.cpu_ms:.2f} ms of CPU a chip")
    counted.show(case.chips, outcome.cpu_ms)
