"""A corpus of a million rows that is true in all that commands read but pixels, made in minutes.

`python -P large_corpus.py FOLDER ROWS`, with the checkout whose code is to make it on PYTHONPATH. Places are
sampled and the manifest is frozen by the stages themselves; scenes are made up. The first shard of every layer holds
pictures; the others are one and the same object with a single chip, under entries of their own.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from exporters.anchor.anchor_rules import Candidate
from exporters.anchor.outcomes import Outcome, PinnedScenes
from exporters.anchor.scene_search import SceneSearch
from exporters.quality.inspection import reference_of
from flows import stages
from flows.settings import Settings, parse
from pipeline import statistics
from pipeline.corpus import Corpus
from pipeline.ledger import Entry
from pipeline.modality import Modality
from pipeline.progress import Silent
from pipeline.shard import Shard

AREAS = "areas.gpkg"
OVERDRAW = 1.15  # one in ten finds no scene
_CORNERS = (
    (-110, 55), (-100, 40), (-60, -10), (-65, -35), (20, 50), (10, 20), (25, 0), (25, -25), (45, 55), (75, 20),
    (85, 50), (105, 35), (105, 60), (135, -25),
)  # fmt: skip
_TILE_KM, _DEGREE_KM, _SPARE = 1.28, 111.2, 1.2  # between splits a strip stays empty
_DAY_MS = 86_400_000
_FIRST_MS = 1_483_228_800_000  # January 2017
_YEARS_DAYS = 4 * 365
# In 256 parts: places without a clear scene, and without a radar scene of a pass.
_CLOUDY, _UNSEEN = 26, 26
_DRAWN_AT_ONCE = 64  # pictures, so that a layer of many bands takes little memory
_SUMMARISED_PX = 16
_PIXELS_EACH = 64  # by which the counts of so small a summary are raised to those of whole chips
_COARSE = 8  # places along an edge between which a picture is interpolated
_VARIANTS = 8  # different entries of a layer, so that making 30,000 of them takes no hour


def settings_of(folder: Path, rows: int) -> Settings:
    """Tiles without gaps, which are the most that can lie near one another; all else as a user leaves it."""
    sampling = {"locations": rows, "regions": str(folder / AREAS), "strategy": "tiles", "overdraw": OVERDRAW}
    return parse({"corpus": {"folder": str(folder)}, "sampling": sampling})


def write_areas(path: Path, rows: int) -> None:
    """Areas of one size on every continent with room for so many tiles."""
    side_deg = np.sqrt(rows * OVERDRAW * _TILE_KM**2 * _SPARE / len(_CORNERS)) / _DEGREE_KM
    areas = [shapely.box(x, y, x + side_deg / np.cos(np.radians(y)), y + side_deg) for x, y in _CORNERS]
    names = [f"area {number}" for number in range(len(areas))]
    gpd.GeoDataFrame({"name": names}, geometry=areas, crs="EPSG:4326").to_file(path, driver="GPKG")


def make(folder: Path, rows: int) -> None:
    """Sample, anchor, lay out, and mark every shard of every layer as done. Equal arguments give equal bytes."""
    settings = settings_of(folder, rows)
    folder.mkdir(parents=True)
    write_areas(folder / AREAS, rows)
    setattr(os, "fsync", lambda _: None)  # noqa: B010 - what is lost in a power cut is made again
    setattr(SceneSearch, "_ask", pinned)  # noqa: B010 - the one method that is not the real one
    stages.sample(settings, None, Silent())
    with stages.earth_engine(settings) as engine:
        stages.anchor(settings, engine, Silent())
    corpus, layers = stages.lay_out(settings)
    for layer in layers:
        fill(corpus, layer)


def pinned(_: SceneSearch, batch: Any) -> list[Outcome]:
    """In place of a service's answer: what becomes of a batch's locations follows from their ids and places alone."""
    return [_pinned(*place) for place in zip(batch.ids, batch.lonlat, strict=True)]


def _pinned(place_id: str, lonlat: list[float]) -> Outcome:
    chance = hashlib.sha256(place_id.encode()).digest()
    if chance[0] < _CLOUDY:
        return "no scene of 2017, 2018, 2019, 2020 with at most 10 % clouds covers the chip"
    time_ms = _FIRST_MS + int.from_bytes(chance[1:3], "big") % _YEARS_DAYS * _DAY_MS + 36_000_000
    lon, lat = lonlat
    tile = f"{int((lon + 180) // 6) % 60 + 1:02d}{'P' if lat >= 0 else 'G'}{chr(65 + chance[3] % 20)}A"
    anchor = Candidate(f"{_stamp(time_ms)}_{_stamp(time_ms + 4000)}_T{tile}", time_ms, tile)
    unseen = [chance[4] < _UNSEEN, chance[4] < _UNSEEN or chance[5] < _UNSEEN]
    return PinnedScenes("l2a" if chance[6] % 3 else "l1c", anchor, {
        name: None if absent else _radar(time_ms + days * _DAY_MS, chance.hex().upper())
        for name, absent, days in zip(("ascending", "descending"), unseen, (-5, 3), strict=True)
    })  # fmt: skip


def _radar(time_ms: int, code: str) -> Candidate:
    name = f"S1A_IW_GRDH_1SDV_{_stamp(time_ms)}_{_stamp(time_ms + 25_000)}_0{code[:5]}_0{code[5:10]}_{code[10:14]}"
    return Candidate(name, time_ms)


def _stamp(time_ms: int) -> str:
    return str(np.datetime64(time_ms, "ms").astype("datetime64[s]")).replace("-", "").replace(":", "")


def fill(corpus: Corpus, layer: Modality) -> None:
    """Every shard of a layer: the first and the last are written, the others share the object of the second."""
    first, *others, last = corpus.shards
    corpus.write(first, layer.name, pictures(corpus, layer, len(first)), {}, _findings(corpus, layer, first, {}))
    corpus.write(last, layer.name, _single(corpus, layer, len(last)), {}, _findings(corpus, layer, last, {}))
    if others:
        written = corpus.write(others[0], layer.name, _single(corpus, layer, len(others[0])), {})
        summaries = [_summary(corpus, layer, variant) for variant in range(_VARIANTS)]
        for shard in others:
            _repeat(corpus, layer, written, shard, summaries[shard.index % _VARIANTS])


def _repeat(corpus: Corpus, layer: Modality, written: Entry, shard: Shard, summary: statistics.Summary) -> None:
    source, target = (corpus.object_path(layer.name, each) for each in (corpus.shards[written.shard], shard))
    if target != source:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, target)
    missing = dict(_missing(corpus, layer, shard))
    corpus.ledger.mark(replace(
        written, shard=shard.index, rows=(shard.start, shard.stop), missing=missing,
        quality=_findings(corpus, layer, shard, missing), summary=summary,
    ))  # fmt: skip


def _missing(corpus: Corpus, layer: Modality, shard: Shard) -> Iterator[tuple[int, str]]:
    """Rows without data, one in a hundred of a layer with a time, each with a reason that has a date in it."""
    if layer.time_rule == "static" or layer.extent != "pixel":
        return
    days = corpus.manifest.column("anchor_time", shard.slice).astype("datetime64[D]")
    for row in shard.rows[:: 97 + len(layer.name)]:
        yield row, f"no ascending or descending scene in the window around {days[row - shard.start]}"


def _findings(corpus: Corpus, layer: Modality, shard: Shard, missing: dict[int, str]) -> dict[str, Any]:
    """As `exporters.quality` finds them in a layer that is in order."""
    chips = len(shard) - len(missing)
    whole = chips * 9 // 10
    values = int(np.prod(layer.shape(corpus.manifest.size_px))) * chips
    result: dict[str, Any] = {
        "chips": chips, "values": values, "nodata": [whole, chips - whole, 0, 0, 0, 0, 0, 0],
        "constant": {"chips": 0, "rows": []}, "outside": shard.index % 5,
    }  # fmt: skip
    reference = reference_of(corpus.modalities.values())
    if reference is not None and layer.extent == "pixel" and layer.name != reference.name:
        seen = {"-1,0": 1, "0,0": 20 + shard.index % 9, "0,1": 2}
        result["shifts"] = {"reference": reference.name, "compared": min(64, chips), "seen": seen}
    return result


def _summary(corpus: Corpus, layer: Modality, variant: int) -> statistics.Summary:
    """Statistics as long as those of a whole shard."""
    rows = 32
    random = np.random.default_rng([variant, len(layer.name)])
    block = _drawn(layer, rows, _SUMMARISED_PX, random)
    groups = ["l1c", "l2a"] * (rows // 2) if layer.statistics_by else [statistics.EVERYTHING] * rows
    summary = statistics.summarise(layer, block, groups)
    return {group: [_raised(band) for band in bands] for group, bands in summary.items()}


def _raised(band: dict[str, Any]) -> dict[str, Any]:
    more = {name: band[name] * _PIXELS_EACH * 16 for name in ("count", "nodata", "m2")}
    return band | more | {"histogram": tuple(count * _PIXELS_EACH * 16 for count in band["histogram"])}


def pictures(corpus: Corpus, layer: Modality, rows: int) -> NDArray[Any]:
    """Stored values (rows, bands[, y, x]): smooth fields with noise."""
    draw = partial(_drawn, layer, size_px=corpus.manifest.size_px)
    starts = range(0, rows, _DRAWN_AT_ONCE)
    return np.concatenate([
        draw(rows=min(_DRAWN_AT_ONCE, rows - start), random=np.random.default_rng([start, len(layer.name)]))
        for start in starts
    ])  # fmt: skip


def _single(corpus: Corpus, layer: Modality, rows: int) -> NDArray[Any]:
    """Nodata but for the first row."""
    block = np.full((rows, *layer.shape(corpus.manifest.size_px)), layer.fill, dtype=layer.dtype)
    block[:1] = pictures(corpus, layer, 1)
    return block


def _drawn(layer: Modality, rows: int, size_px: int, random: np.random.Generator) -> NDArray[Any]:
    shape = (rows, *layer.shape(size_px))
    fields = _smooth(shape, random) if layer.extent == "pixel" else random.random(shape, dtype=np.float32)
    if layer.categories:
        codes = np.asarray(layer.codes)
        return codes[(fields * len(codes)).astype(int)].astype(layer.dtype)
    low, high = _range(layer)
    noise = random.normal(0, (high - low) / 100, shape).astype(np.float32)
    return np.clip(low + fields * (high - low) + noise, low, high).astype(layer.dtype)


def _range(layer: Modality) -> tuple[float, float]:
    """A part of the valid range, as real values have it, in stored numbers."""
    ranges = [each for each in layer.ranges if each is not None]
    if not ranges:
        return (270.0, 300.0) if np.dtype(layer.dtype).kind == "f" else (1.0, 800.0)
    low, high = min(ranges, key=lambda ends: ends[1] - ends[0])  # one for all bands: what every band may have
    return low, low + (high - low) / 4


def _smooth(shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.float32]:
    """Fields in [0, 1) of `shape`, interpolated between a few places."""
    coarse = random.random((*shape[:-2], _COARSE, _COARSE), dtype=np.float32) * np.float32(0.999)
    at = np.linspace(0, _COARSE - 1, shape[-1])
    weights = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(_COARSE))).astype(np.float32)
    return np.asarray(weights @ coarse @ weights.T)


def main() -> None:
    """Make the corpus; a draft that was not made whole is made anew."""
    folder, rows = Path(sys.argv[1]), int(sys.argv[2])
    shutil.rmtree(folder, ignore_errors=True)
    make(folder, rows)


if __name__ == "__main__":
    main()
