"""Chips for benchmarks: some places anchored by the sandbox as a user's would be, and as many neighbours as wanted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from exporters.earth_engine.client import EarthEngine
from flows import stages
from flows.settings import Settings, parse
from pipeline.chip import Chip
from pipeline.corpus_folder import MANIFEST
from pipeline.grid import Grid
from pipeline.location import location_id
from pipeline.manifest import Manifest
from pipeline.progress import Silent

_STEP_M = 10.0


def settings_for(folder: Path, url: str, locations: int, size_px: int) -> Settings:
    """A corpus of every modality over all biomes."""
    return parse({
        "corpus": {"folder": str(folder), "size_px": size_px},
        "source": {"url": url},
        "sampling": {"locations": locations},
    })  # fmt: skip


def anchored(engine: EarthEngine, folder: Path, locations: int, size_px: int) -> Manifest:
    """Sampled over the planet and pinned to scenes; at most so many, as some places have none."""
    settings = settings_for(folder, engine.connection.base_url, locations, size_px)
    stages.sample(settings, engine, Silent())
    stages.anchor(settings, engine, Silent())
    return Manifest.read(folder / MANIFEST)


def neighbours(manifest: Manifest, count: int) -> Manifest:
    """`count` chips: those of the manifest, and the same moved by whole pixels, pinned to the same scenes."""
    chips = [manifest[row] for row in range(len(manifest))]
    return Manifest.freeze([_moved(chips[index % len(chips)], index // len(chips)) for index in range(count)], 0)


def _moved(chip: Chip, steps: int) -> Chip:
    x, y = chip.grid.origin_xy
    grid = Grid(chip.grid.crs, (x + _STEP_M * steps, y), chip.grid.shape_yx)
    lon, lat = grid.centre_lonlat
    location = replace(chip.location, id=location_id(lon, lat), lon=lon, lat=lat)
    return replace(chip, location=location, grid=grid)
