"""Requests per location: our whole job beside the published code's pattern, counted by the same sandbox.

    python -m benchmarks.requests [--quick]

The last line is one JSON object: locations, requests_per_location, published_l1c, published_l2a, x_published.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.published_pattern import Tile, pull
from exporters.earth_engine.client import Connection, connect
from flows import stages
from flows.progress.display import display
from flows.settings import Settings, parse
from pipeline.corpus import Corpus
from pipeline.errors import GeocorpusError
from pipeline.manifest import Manifest
from sandbox.planet import Planet
from sandbox.service.server import Sandbox


@dataclass(frozen=True)
class Cost:
    """What one way of pulling cost: locations that came, and requests by endpoint as the sandbox counted them."""

    name: str
    locations: int
    requests: dict[str, int]

    @property
    def total(self) -> int:
        """All requests, start-up and metadata included."""
        return sum(self.requests.values())

    @property
    def per_location(self) -> float:
        """Requests for each location that came."""
        return self.total / max(1, self.locations)


def settings_for(folder: Path, url: str, locations: int) -> Settings:
    """A full-stack corpus of small chips: the chip's size changes no request."""
    return parse({
        "corpus": {"folder": str(folder), "size_px": 16, "shard_rows": 512},
        "source": {"url": url},
        "sampling": {"locations": locations},
    })  # fmt: skip


def ours(sandbox: Any, locations: int, folder: Path) -> Cost:
    """Sample, anchor and export every modality, from an empty folder."""
    settings = settings_for(folder, sandbox.url, locations)
    sandbox.reset_counters()
    with display() as progress, stages.earth_engine(settings) as engine:
        stages.sample(settings, engine, progress)
        stages.anchor(settings, engine, progress)
        stages.export(settings, engine, progress)
    return Cost("geocorpus", len(Corpus.open(folder).manifest), counted(sandbox))


def published(sandbox: Any, manifest: Manifest, level: str, count: int) -> Cost:
    """The published pattern at places of our manifest that have `level` and both radar passes; complete ones count."""
    connect(Connection("benchmark", sandbox.url))
    seen_twice = [chip for chip in manifest if chip.acquisition.ascending and chip.acquisition.descending]
    tiles = [
        Tile(chip.location.lonlat, chip.acquisition.date.year, level)
        for chip in seen_twice
        if chip.acquisition.level == level
    ]
    came, requests = 0, Counter[str]()
    for tile in tiles[: 2 * count]:
        sandbox.reset_counters()
        if came < count and _comes(tile):
            came += 1
            requests.update(counted(sandbox))
    return Cost(f"published pattern, {level} found", came, dict(requests))


def _comes(tile: Tile) -> bool:
    try:
        return pull(tile) is not None
    except GeocorpusError:
        return False


def counted(sandbox: Any) -> dict[str, int]:
    """Requests by endpoint."""
    return dict(sandbox.counters()["requests"])


def show(costs: Sequence[Cost]) -> None:
    """A table of who asked what."""
    print(f"{'':34}{'locations':>10}{'requests':>10}{'per location':>14}  by endpoint")
    for cost in costs:
        endpoints = ", ".join(f"{name} {count}" for name, count in sorted(cost.requests.items()))
        print(f"{cost.name:34}{cost.locations:>10}{cost.total:>10}{cost.per_location:>14.3f}  {endpoints}")


def main() -> None:
    """Measure both, print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="40 locations in place of 500")
    locations = 40 if parser.parse_args().quick else 500
    with Sandbox(Planet(0)) as sandbox, tempfile.TemporaryDirectory() as folder:
        mine = ours(sandbox, locations, Path(folder))
        manifest = Manifest.read(Path(folder) / "manifest.parquet")
        theirs = {level: published(sandbox, manifest, level, 5) for level in ("l1c", "l2a")}
    show([mine, *theirs.values()])
    figures = {level: round(cost.per_location, 2) for level, cost in theirs.items()}
    print(json.dumps({
        "locations": mine.locations,
        "requests_per_location": round(mine.per_location, 4),
        "published_l1c": figures["l1c"],
        "published_l2a": figures["l2a"],
        "x_published": round(figures["l1c"] / mine.per_location, 1),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
