"""Ours beside the published MMEarth-data code itself: requests per chip and chips a second, one sandbox, one latency.

    git clone https://github.com/vishalned/MMEarth-data && pip install --target published-deps geojson retry
    PYTHONPATH=published-deps python -m benchmarks.published MMEarth-data [--quick]

Both may have as many requests in flight: the published code, which asks one thing after the other, runs in so many
processes, as its authors ran forty. The sandbox computes every answer for both. The last line is one JSON object:
chips_per_s, published_chips_per_s, requests_per_chip, published_requests_per_chip, at_once, latency_s.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import service
from benchmarks.service import Service
from flows import stages
from flows.settings import parse
from pipeline.chip import Chip
from pipeline.corpus_folder import MANIFEST
from pipeline.grid import LATTICE_M, to_lonlat
from pipeline.manifest import Manifest
from pipeline.progress import Silent

LATENCY_S = 0.25
AT_ONCE = 8
SIZE_PX = 128
_TILE_M = 1300.0  # of the published tiles, which are cropped to 128 pixels of 10 m


@dataclass(frozen=True)
class Cost:
    """What one way of pulling took, from the first request for a place to the last file."""

    name: str
    chips: int
    seconds: float
    requests: int
    sandbox_cpu_s: float

    @property
    def requests_per_chip(self) -> float:
        """All requests, for each chip that came."""
        return self.requests / max(1, self.chips)

    @property
    def chips_per_s(self) -> float:
        """Chips that came, a second."""
        return self.chips / self.seconds


def ours(sandbox: Service, folder: Path, locations: int) -> tuple[Cost, Manifest]:
    """Sample, anchor and export every modality of so many places, from an empty folder."""
    settings = parse({
        "corpus": {"folder": str(folder), "size_px": SIZE_PX, "shard_rows": max(8, locations // 8)},
        "source": {"url": sandbox.url, "concurrency": AT_ONCE},
        "sampling": {"locations": locations},
    })  # fmt: skip
    with stages.earth_engine(settings) as engine:
        stages.sample(settings, engine, Silent())
        sandbox.reset()
        began_s, before_s = time.monotonic(), sandbox.cpu_s()
        stages.anchor(settings, engine, Silent())
        stages.export(settings, engine, Silent())
        took_s = time.monotonic() - began_s
    manifest = Manifest.read(folder / MANIFEST)
    cost = Cost("geocorpus", len(manifest), took_s, sandbox.counters()["total"], sandbox.cpu_s() - before_s)
    return cost, manifest


def outline(chip: Chip) -> list[list[float]]:
    """The corners of a published tile around the same centre, lon/lat."""
    left, bottom, right, top = chip.grid.bounds_xy
    margin = (_TILE_M - SIZE_PX * LATTICE_M) / 2
    xs, ys = (left - margin, right + margin), (bottom - margin, top + margin)
    lon, lat = to_lonlat(chip.grid.crs).transform([xs[0], xs[1], xs[1], xs[0]], [ys[0], ys[0], ys[1], ys[1]])
    corners = [[float(x), float(y)] for x, y in zip(lon, lat, strict=True)]
    return [*corners, corners[0]]


def published(sandbox: Service, checkout: Path, folder: Path, chips: Sequence[Chip]) -> Cost:
    """Its code on the same places, dealt out to as many processes as we have requests in flight."""
    processes = [_begun(sandbox, checkout, folder / str(hand), chips[hand::AT_ONCE]) for hand in range(AT_ONCE)]
    for process in processes:
        _await_start(process)
    sandbox.reset()
    began_s, before_s = time.monotonic(), sandbox.cpu_s()
    for process in processes:
        _tell_to_go(process)
    failed = [process.returncode for process in processes if process.communicate() and process.returncode]
    took_s = time.monotonic() - began_s
    if failed:
        print(f"{len(failed)} of {len(processes)} of its processes ended with an error before their last tile.")
    complete = len(list(folder.rglob("*.tif")))
    return Cost("MMEarth-data", complete, took_s, sandbox.counters()["total"], sandbox.cpu_s() - before_s)


def _begun(sandbox: Service, checkout: Path, folder: Path, chips: Sequence[Chip]) -> subprocess.Popen[str]:
    folder.mkdir(parents=True)
    tiles = folder / "tiles.json"
    tiles.write_text(json.dumps({str(chip.row): outline(chip) for chip in chips}))
    command = [sys.executable, "-m", "benchmarks.published_client", str(checkout), sandbox.url, str(tiles), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )


def _await_start(process: subprocess.Popen[str]) -> None:
    for line in process.stdout or ():
        if line.strip() == "ready":
            return
    raise SystemExit("The published code did not start; `python -m benchmarks.published_client` by hand says why.")


def _tell_to_go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def main() -> None:
    """Measure both, print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="a checkout of MMEarth-data")
    parser.add_argument("--quick", action="store_true", help="16 of 64 places in place of 64 of 512")
    options = parser.parse_args()
    few, many = (16, 64) if options.quick else (64, 512)
    limits = ("--latency", str(LATENCY_S), "--concurrent", str(AT_ONCE + 2))
    with service.running(*limits) as sandbox, tempfile.TemporaryDirectory() as folder:
        mine, manifest = ours(sandbox, Path(folder) / "ours", many)
        chips = [manifest[row] for row in range(min(few, len(manifest)))]
        theirs = published(sandbox, options.checkout, Path(folder) / "theirs", chips)
    heads = f"{'chips':>7}{'seconds':>9}{'requests':>10}{'per chip':>10}{'chips a second':>16}"
    print(f"{'':14}{heads}{'sandbox CPU s':>15}")
    for cost in (mine, theirs):
        print(f"{cost.name:14}{cost.chips:>7}{cost.seconds:>9.1f}{cost.requests:>10}{cost.requests_per_chip:>10.2f}"
              f"{cost.chips_per_s:>16.2f}{cost.sandbox_cpu_s:>15.1f}")  # fmt: skip
    print(json.dumps({
        "chips_per_s": round(mine.chips_per_s, 2), "published_chips_per_s": round(theirs.chips_per_s, 3),
        "requests_per_chip": round(mine.requests_per_chip, 3),
        "published_requests_per_chip": round(theirs.requests_per_chip, 2),
        "at_once": AT_ONCE, "latency_s": LATENCY_S,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
