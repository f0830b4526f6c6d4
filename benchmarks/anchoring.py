"""Anchoring 1.2 million places: peak memory, time and bytes beside the commit before one table carried a location.

Both commits sample the same places and run their own `anchor` stage, each in a process of its own that imports its own
checkout. Their requests are built as ever and answered here, from the place and the span of time that they ask about.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# The last commit that made objects of every location: git worktree add takes a tag or branch as well.
BEFORE = "ac2f3de4ad6da5269a460f40e78015ec82b2c536"
ECOREGIONS = ROOT.parent / "shared" / "data" / "ecoregions" / "Ecoregions2017.shp"
ROWS, QUICK_ROWS = 1_200_000, 20_000
FILES = ("locations.parquet", "rejected.parquet", "manifest.parquet")
_DAY_MS = 86_400_000
_LEVELS, _PASSES = ("l2a", "l1c"), ("ascending", "descending")
# In 256 parts: places without a clear scene in one year, or in the others, and without a radar scene of a pass.
_CLOUDY, _ALWAYS_CLOUDY, _UNSEEN = 31, 100, 26
Figures = dict[str, Any]
Row = dict[str, list[Any]]
Scenes = tuple[tuple[str, int], ...]  # system:index and system:time_start


def answered(request: Any) -> dict[str, Any]:
    """What a service might answer to a batch's request for scenes: it depends on each place and span alone."""
    features = request.args["collection"].args["features"]
    asked = [(feature.args["geometry"].toGeoJSON()["coordinates"], feature.args["metadata"]) for feature in features]
    return {"features": [{"properties": _scenes(lon, lat, span["start"], span["end"])} for (lon, lat), span in asked]}


def _scenes(lon: float, lat: float, start_ms: int, end_ms: int) -> Row:
    # Years begin at midnight; what is searched for radar ends a millisecond behind a scene's own time.
    return (_radar if (end_ms - start_ms) % _DAY_MS else _optical)(lon, lat, start_ms, end_ms)


def _optical(lon: float, lat: float, start_ms: int, end_ms: int) -> Row:
    tile = _tile(lon, lat)
    wide = end_ms - start_ms > 366 * _DAY_MS
    cloudy = _chance(f"{lon:.7f} {lat:.7f} {wide}")[0] < (_ALWAYS_CLOUDY if wide else _CLOUDY)
    return _columns(dict.fromkeys(_LEVELS, () if cloudy else _clear_scenes(tile, start_ms, end_ms)), tile)


@lru_cache(maxsize=4096)
def _clear_scenes(tile: str, start_ms: int, end_ms: int) -> Scenes:
    """A few in every year; neighbours are served by the same."""
    days = (end_ms - start_ms) // _DAY_MS
    chances = _chance(f"{tile} {start_ms}")[: max(5, days // 100)]
    times = sorted({start_ms + ((chance * days) >> 8) * _DAY_MS for chance in chances})
    return tuple((f"{_stamp(time)}_{_stamp(time + 4000)}_T{tile}", time) for time in times)


def _radar(lon: float, lat: float, start_ms: int, end_ms: int) -> Row:
    middle, seen = (start_ms + end_ms) // 2 // _DAY_MS, _chance(f"{lon:.7f} {lat:.7f}")
    swath = f"{round(lon / 2.5)} {round(lat / 2)}"
    passes = zip(_PASSES, seen, (20_000_000, 60_000_000), strict=False)
    return _columns({
        name: () if chance < _UNSEEN else _radar_scenes(swath, middle * _DAY_MS + time) for name, chance, time in passes
    })  # fmt: skip


@lru_cache(maxsize=4096)
def _radar_scenes(swath: str, time_ms: int) -> Scenes:
    """One before and one behind."""
    times = (time_ms - 5 * _DAY_MS, time_ms + 3 * _DAY_MS)
    return tuple((_radar_index(swath, time), time) for time in times)


def _radar_index(swath: str, time_ms: int) -> str:
    code = hashlib.sha256(f"{swath} {time_ms}".encode()).hexdigest().upper()
    return f"S1A_IW_GRDH_1SDV_{_stamp(time_ms)}_{_stamp(time_ms + 25_000)}_0{code[:5]}_0{code[5:10]}_{code[10:14]}"


def _columns(by_name: dict[str, Scenes], tile: str | None = None) -> Row:
    row: Row = {}
    for name, scenes in by_name.items():
        row[f"{name}/system:index"] = [index for index, _ in scenes]
        row[f"{name}/system:time_start"] = [time for _, time in scenes]
        if tile is not None:
            row[f"{name}/MGRS_TILE"] = [tile] * len(scenes)
    return row


def _tile(lon: float, lat: float) -> str:
    """A name like those of MGRS tiles: zone, north or south, and two letters for a cell of about 100 km."""
    zone, row = int((lon + 180) // 6) % 60 + 1, int(lat + 90)
    return f"{zone:02d}{'P' if lat >= 0 else 'G'}{chr(65 + int(lon % 6))}{chr(65 + row % 20)}"


def _chance(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _stamp(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y%m%dT%H%M%S}"


def _settings(folder: Path, rows: int, regions: Path) -> Any:
    from flows.settings import parse

    sampling = {"locations": rows, "regions": str(regions)}
    return parse({"corpus": {"folder": str(folder)}, "sampling": sampling})


def sample(folder: Path, rows: int, regions: Path) -> None:
    """The candidates, by the stage itself."""
    from flows import stages
    from pipeline.progress import Silent

    stages.sample(_settings(folder, rows, regions), None, Silent())


def anchor(folder: Path, rows: int, regions: Path) -> None:
    """The stage, with answers made here in place of the client's."""
    from flows import stages
    from pipeline.progress import Silent

    settings = _settings(folder, rows, regions)
    with stages.earth_engine(settings) as engine:
        setattr(engine, "value", answered)  # noqa: B010 - the one method that is not the real one
        stages.anchor(settings, engine, Silent())


def alone(work: Callable[..., None], folder: Path, rows: int, regions: Path) -> None:
    """Do one stage in this process, and print what it took as JSON."""
    started = time.perf_counter()
    work(folder, rows, regions)
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({
        "seconds": time.perf_counter() - started, "cpu_s": used.ru_utime + used.ru_stime,
        "peak_rss_gib": used.ru_maxrss / 2**20,
    }))  # fmt: skip


def measured(label: str, checkout: Path, folder: Path, rows: int, regions: Path) -> Figures:
    """Sample and anchor in processes that import `checkout` alone; prints a line, adds digests of the files."""
    _run(checkout, "sample", folder, rows, regions)
    figures = _run(checkout, "anchor", folder, rows, regions)
    parts = [path for path in (folder / "anchors").iterdir() if path.is_file()]
    figures |= {"parts_mb": sum(path.stat().st_size for path in parts) / 1e6, "parts": len(parts)}
    figures |= {name: _sha256(folder / name) for name in FILES}
    print(
        f"{label:<12}{rows:>12,}{figures['seconds']:>10.1f}{figures['cpu_s']:>10.1f}"
        f"{figures['peak_rss_gib']:>8.3f}{figures['parts_mb']:>11.1f}",
        flush=True,
    )
    return figures


def _run(checkout: Path, stage: str, folder: Path, rows: int, regions: Path) -> Figures:
    command = [sys.executable, "-P", __file__, "--alone", stage, "--folder", str(folder), "--rows", str(rows)]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run(
        [*command, "--regions", str(regions)], cwd=checkout, env=environment, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        sys.exit(f"{stage} of {checkout} failed; its own words are above.")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def checked_out(commit: str, folder: Path) -> Iterator[Path]:
    """A work tree of `commit`, gone with the block."""
    git = ["git", "-C", str(ROOT), "worktree"]
    if subprocess.run([*git, "add", "--quiet", "--detach", str(folder), commit]).returncode:
        sys.exit(f"commit {commit} is not in this clone; fetch the whole history, or name another with --before.")
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def compared(rows: int, regions: Path, before: str) -> Figures:
    """Both commits, one after the other; exits when they wrote different bytes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with checked_out(before, folder / "checkout") as checkout:
            old = measured("before", checkout, folder / "before", rows, regions)
        new = measured("now", ROOT, folder / "now", rows, regions)
    differing = [name for name in FILES if old[name] != new[name]]
    if differing:
        sys.exit(f"{', '.join(differing)} are not what the commit before wrote.")
    return {
        "rows": rows, "peak_rss_gib": round(new["peak_rss_gib"], 3),
        "x_today": round(new["peak_rss_gib"] / old["peak_rss_gib"], 3),
        "today_gib": round(old["peak_rss_gib"], 3), "seconds": round(new["seconds"], 1),
        "x_today_seconds": round(new["seconds"] / old["seconds"], 3),
        "x_today_cpu": round(new["cpu_s"] / old["cpu_s"], 3), "files_differ": len(differing),
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, then one JSON object."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help=f"{QUICK_ROWS:,} places")
    options.add_argument("--rows", type=int, help=f"instead of {ROWS:,}")
    options.add_argument("--regions", type=Path, default=ECOREGIONS, help="a table with RESOLVE's columns")
    options.add_argument("--before", default=BEFORE, help="the commit to compare with")
    options.add_argument("--alone", choices=("sample", "anchor"), help=argparse.SUPPRESS)
    options.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = options.parse_args(arguments)
    rows = chosen.rows or (QUICK_ROWS if chosen.quick else ROWS)
    if not chosen.regions.exists():
        sys.exit(f"{chosen.regions} does not exist; give a table with RESOLVE's columns as --regions.")
    if chosen.alone:
        alone({"sample": sample, "anchor": anchor}[chosen.alone], chosen.folder, rows, chosen.regions)
        return
    print(f"{'':<12}{'places':>12}{'seconds':>10}{'CPU s':>10}{'GiB':>8}{'anchors MB':>11}", flush=True)
    print(json.dumps(compared(rows, chosen.regions.resolve(), chosen.before)))


if __name__ == "__main__":
    main()
