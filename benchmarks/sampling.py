"""Choosing places: ours, exact and without overlaps, beside GeoPandas' own `sample_points`, in one run."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np

from pipeline.location import write_location_table
from sampling.allocation import allocate
from sampling.constraints import Constraints
from sampling.draw import draw
from sampling.footprints import any_overlap
from sampling.picture import write_picture
from sampling.regions import read_region_file
from sampling.sample import sample_of
from sampling.splits import CellSplits
from sampling.weights import weigh

ECOREGIONS = Path(__file__).parents[2] / "shared" / "data" / "ecoregions" / "Ecoregions2017.shp"
LOCATIONS, QUICK_LOCATIONS = 1_200_000, 50_000
SIDE_M, BUFFER_M, SEED = 1280.0, 5000.0, 0
RULE = CellSplits((0.9, 0.05, 0.05), SEED, 1.0)
Figures = dict[str, float]


def ours(path: Path, locations: int, strategy: str, folder: Path) -> Figures:
    """Read, allocate, draw without overlaps and with a buffer between splits, write GeoParquet."""
    start = time.perf_counter()
    regions = read_region_file(path)
    constraints = Constraints(SIDE_M, splits=RULE, buffer_m=BUFFER_M)
    drawn = draw(regions, weigh(regions, strategy), locations, SEED, constraints, overdraw=1.0)
    sample = sample_of(regions, drawn, RULE)
    drawn_s = time.perf_counter() - start
    write_location_table(folder / "locations.parquet", sample.table)
    seconds = time.perf_counter() - start
    peak_rss_gib = _peak_rss_gib()
    return {
        "drawn_s": drawn_s, "seconds": seconds, "peak_rss_gib": peak_rss_gib, "locations": sample.allocation.total,
        "rows": len(sample.table), "overlaps": any_overlap(drawn.lonlat, SIDE_M), "full": int(drawn.full.sum()),
        "bytes": (folder / "locations.parquet").stat().st_size,
        "picture_s": _timed(write_picture, folder, sample, regions),
    }  # fmt: skip


def _timed(write: Callable[..., None], folder: Path, *arguments: Any) -> float:
    start = time.perf_counter()
    write(folder / "sample.png", *arguments)
    return time.perf_counter() - start


def geopandas_own(path: Path, locations: int, strategy: str, folder: Path) -> Figures:
    """The same quotas through `GeoSeries.sample_points`: uniform in degrees, overlaps and all; write GeoParquet."""
    start = time.perf_counter()
    regions = read_region_file(path)
    quotas = allocate(regions, locations, weigh(regions, strategy)).quotas
    counts = np.array([quota.count for quota in quotas])
    some = counts > 0
    points = regions.frame.geometry[some].sample_points(counts[some], rng=SEED).explode(ignore_index=True)
    frame = gpd.GeoDataFrame({"stratum": np.repeat(np.asarray(regions.frame["stratum"]), counts)}, geometry=points)
    frame.to_parquet(folder / "points.parquet")
    seconds = time.perf_counter() - start
    lonlat = np.column_stack([points.x, points.y])
    lonlat[:, 0] = (lonlat[:, 0] + 180) % 360 - 180
    peak_rss_gib = _peak_rss_gib()
    return {"seconds": seconds, "peak_rss_gib": peak_rss_gib, "locations": len(frame),
            "overlaps": any_overlap(lonlat, SIDE_M)}  # fmt: skip


def _peak_rss_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def alone(work: Callable[..., Figures], *arguments: Any) -> Figures:
    """Run in a process of its own, so that its peak memory is its own."""
    with tempfile.TemporaryDirectory() as folder, multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, (*arguments, Path(folder)))


def measured(label: str, work: Callable[..., Figures], *arguments: Any) -> Figures:
    """Measure and print one line."""
    figures = alone(work, *arguments)
    each = figures["seconds"] / figures["locations"] * 1e6
    print(
        f"{label:<34}{figures['locations']:>12,.0f}{figures['seconds']:>9.1f}{each:>13.1f}"
        f"{figures['peak_rss_gib']:>7.2f}{figures['overlaps']:>11,.0f}",
        flush=True,
    )
    return figures


def main() -> None:
    """Print the table, then one JSON object."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help=f"{QUICK_LOCATIONS:,} locations and no growth")
    options.add_argument("--locations", type=int, help="instead of 1,200,000")
    options.add_argument("--strategy", default="biomes", help="biomes, biomes-equal, ecoregions or land")
    options.add_argument("--regions", type=Path, default=ECOREGIONS)
    chosen = options.parse_args()
    if not chosen.regions.exists():
        sys.exit(f"{chosen.regions} does not exist; give a table with RESOLVE's columns as --regions.")
    locations = chosen.locations or (QUICK_LOCATIONS if chosen.quick else LOCATIONS)
    print(f"{'':<34}{'locations':>12}{'seconds':>9}{'per million':>13}{'GiB':>7}{'overlaps':>11}", flush=True)
    best = measured("ours", ours, chosen.regions, locations, chosen.strategy)
    theirs = measured("GeoSeries.sample_points", geopandas_own, chosen.regions, locations, chosen.strategy)
    for count in () if chosen.quick else (locations // 4, locations // 2):
        measured("ours, fewer", ours, chosen.regions, count, chosen.strategy)
    print(json.dumps({
        "locations": best["locations"], "seconds": round(best["seconds"], 2),
        "peak_rss_gib": round(best["peak_rss_gib"], 3), "x_geopandas": round(theirs["seconds"] / best["seconds"], 2),
        "strategy": chosen.strategy, "overlaps": best["overlaps"], "geopandas_overlaps": theirs["overlaps"],
        "picture_s": round(best["picture_s"], 2), "megabytes": round(best["bytes"] / 1e6, 1),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
