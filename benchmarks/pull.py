"""The export against a service with lower quotas than ours: how near its limit, how many refusals, what CPU.

The chips are tiny (12 px, one layer) and the sandbox runs in a process of its own, so that its own computing is not
what is measured; the latency is the sandbox's. Prints a table and one JSON line.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ee
import numpy as np

from exporters import catalog, encoding
from exporters.client import Connection, EarthEngine, connect, grid_request
from exporters.export import export
from exporters.sources import Pixels
from pipeline.chip import Acquisition, Chip, Scene
from pipeline.corpus import MANIFEST, Corpus
from pipeline.grid import Grid, utm_crs
from pipeline.location import Location, location_id
from pipeline.manifest import Manifest

SIZE_PX = 12
LAYERS = ("esa_worldcover",)
LATENCY_S = 0.25
RATE = 100.0
OUR_CONCURRENCY = 20
_URL = re.compile(r"http://127\.0\.0\.1:\d+")


@contextmanager
def sandbox(concurrent: int) -> Iterator[str]:
    """A sandbox process with quotas; yields its URL."""
    command = [
        sys.executable, "-m", "sandbox", "--port", "0", "--with-parent", "--latency", str(LATENCY_S),
        "--concurrent", str(concurrent), "--rate", str(RATE),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield next(found.group() for line in process.stdout if (found := _URL.search(line)))
    finally:
        process.terminate()
        process.wait(timeout=30)


def counters(url: str) -> dict[str, Any]:
    """What the sandbox was asked so far."""
    with urllib.request.urlopen(f"{url}/sandbox/counters") as response:  # noqa: S310
        return dict(json.load(response))


def manifest_of(count: int) -> Manifest:
    """Chips a kilometre apart in one UTM zone."""
    scene = Scene("COPERNICUS/S2_HARMONIZED/none", datetime(2019, 6, 1, tzinfo=UTC))
    chips = []
    for place in range(count):
        lonlat = (9.0 + 0.013 * (place % 60), 46.0 + 0.009 * (place // 60))
        location = Location(location_id(*lonlat), *lonlat, "7", 4, "Temperate", 664, "Somewhere", "Palearctic")
        chips.append(Chip(location, Grid.around(lonlat, utm_crs(lonlat), SIZE_PX), Acquisition(scene, "l1c")))
    return Manifest.freeze(chips, 0)


@dataclass
class Moments:
    """Progress that remembers when each chip came."""

    came: list[float] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """Nothing to remember."""

    def advance(self, count: int = 1) -> None:
        """A chip came."""
        with self._lock:
            self.came += [time.monotonic()] * count

    def note(self, **figures: float | str) -> None:
        """Nothing to remember."""

    def say(self, sentence: str) -> None:
        """Nothing to remember."""

    def rate(self, first: int, last: int) -> float:
        """Chips a second from the first to the last of these."""
        ordered = sorted(self.came)
        return (last - first) / (ordered[last] - ordered[first])


def bare_cpu_s(url: str, manifest: Manifest, concurrent: int) -> float:
    """CPU seconds per chip of the client alone, in as many threads, for the same pixels."""
    connect(Connection("benchmark", url=url))
    # Twice, because the first transport is ours: here the client uses its own.
    ee.Reset()
    ee.Initialize(None, url=url, project="benchmark")
    (layer,) = catalog.modalities(LAYERS)
    source = layer.source
    assert isinstance(source, Pixels)

    def pull(chip: Chip) -> None:
        image = encoding.stored_image(layer, source, chip)
        grid = grid_request(chip.grid)
        np.load(io.BytesIO(ee.data.computePixels({"expression": image, "fileFormat": "NPY", "grid": grid})))

    started = time.process_time()
    with ThreadPoolExecutor(concurrent) as pool:
        list(pool.map(pull, [manifest[row] for row in range(len(manifest))]))
    return (time.process_time() - started) / len(manifest)


@dataclass(frozen=True)
class Run:
    """One export: chips a second after warm-up, replies by status (all, and after warm-up), CPU seconds per chip."""

    chips_per_s: float
    requests: int
    share_429: float
    cpu_s: float


def run_export(url: str, manifest: Manifest, folder: Path, warm: float, at_once: int) -> Run:
    """Export the manifest; the first `warm` share of chips and the last tenth are not part of rates."""
    layers = catalog.bound(catalog.modalities(LAYERS), manifest)
    manifest.write(folder / MANIFEST)
    corpus = Corpus.create(folder, layers, len(manifest))
    engine = connect(Connection("benchmark", url=url, concurrency=at_once, requests_per_s=RATE))
    before = engine.figures()
    moments, warmed = Moments(), threading.Event()
    refused: list[int] = []
    watch = threading.Thread(
        target=_note_refusals, args=(engine, moments, round(warm * len(manifest)), refused, warmed), daemon=True
    )
    watch.start()
    started = time.process_time()
    export(engine, corpus, layers, folder / "spool", moments)
    cpu_s = (time.process_time() - started) / len(manifest)
    watch.join()
    figures = engine.figures()
    first, last = round(warm * len(manifest)), round(0.9 * len(manifest))
    late = (figures.throttled - refused[0]) / max(1, len(manifest) - first)
    return Run(moments.rate(first, last), figures.requests - before.requests, late, cpu_s)


def _note_refusals(
    engine: EarthEngine, moments: Moments, first: int, refused: list[int], warmed: threading.Event
) -> None:
    while len(moments.came) < first:
        warmed.wait(0.05)
    refused.append(engine.figures().throttled)


def table(rows: Sequence[tuple[str, str]]) -> None:
    """Print two columns."""
    for name, value in rows:
        print(f"{name:<46}{value:>12}")


def main() -> None:
    """Measure, print and give the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1000 chips in place of 4000")
    quick = parser.parse_args().quick
    count, concurrent = (1000, 8) if quick else (4000, 10)
    manifest = manifest_of(count)
    limit = min(concurrent / LATENCY_S, RATE)
    with sandbox(concurrent) as url, tempfile.TemporaryDirectory() as folder:
        bare_s = bare_cpu_s(url, manifest_of(200), concurrent)
        run = run_export(url, manifest, Path(folder), 0.4 if quick else 0.25, OUR_CONCURRENCY)
    table([
        ("chips", str(count)),
        ("configured / admitted at once", f"{OUR_CONCURRENCY} / {concurrent}"),
        ("limit: min(at once / latency, rate), 1/s", f"{limit:.1f}"),
        ("chips a second after warm-up", f"{run.chips_per_s:.1f}"),
        ("requests", str(run.requests)),
        ("share of 429 after warm-up", f"{run.share_429:.4%}"),
        ("CPU per chip: ours / bare client, ms", f"{1e3 * run.cpu_s:.1f} / {1e3 * bare_s:.1f}"),
    ])  # fmt: skip
    print(json.dumps({
        "requests_per_chip": round(run.requests / count, 3),
        "fraction_of_limit": round(run.chips_per_s / limit, 3),
        "share_429": round(run.share_429, 5),
        "client_cpu_ratio": round(run.cpu_s / bare_s, 2),
        "chips": count,
        "chip_px": SIZE_PX,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
