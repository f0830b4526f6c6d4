"""Before a long export: can everything be read, is there room, and what will it take? Writes nothing."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ee
import numpy as np

from exporters import threads
from exporters.earth_engine.batch_size import OneTooLarge
from exporters.earth_engine.client import EarthEngine
from exporters.pull.pull import REGION_ROWS, Puller
from exporters.sources import Local, Pixels, Region, source_of
from pipeline.chip import Chip
from pipeline.compression import compressed_bytes
from pipeline.errors import Fatal, Missing, Transient
from pipeline.manifest import Manifest
from pipeline.modality import Modality
from pipeline.shard import Shard
from pipeline.spool import ChipResult
from pipeline.store import Store

PILOT_CHIPS = 8
# EECU-hours a month of the noncommercial tiers (developers.google.com/earth-engine/guides/noncommercial_tiers).
TIERS = {"Community": 150, "Contributor": 1_000, "Partner": 100_000}
_SPARE = 1.1  # what the disk should have beyond the estimate


@dataclass(frozen=True)
class Work:
    """What an export would do: the layers that each unfinished shard lacks."""

    manifest: Manifest
    missing: Mapping[Shard, Sequence[Modality]]

    @property
    def chips(self) -> int:
        """Chips of unfinished shards."""
        return sum(len(shard) for shard in self.missing)

    @property
    def layers(self) -> list[Modality]:
        """Every layer that some shard lacks."""
        return list({layer.name: layer for layers in self.missing.values() for layer in layers}.values())

    @property
    def region_requests(self) -> int:
        """Requests for regional means, a bounded number of chips each."""
        means = {layer.name for layer in self.layers if isinstance(source_of(layer), Region)}
        return sum(
            -(-len(shard) // REGION_ROWS)
            for shard, layers in self.missing.items()
            if any(layer.name in means for layer in layers)
        )

    @property
    def raw_bytes_per_chip(self) -> int:
        """A chip of all layers, as it is in memory."""
        shapes = [(layer.shape(self.manifest.size_px), np.dtype(layer.dtype).itemsize) for layer in self.layers]
        return sum(int(np.prod(shape)) * size for shape, size in shapes)

    def sample(self, count: int) -> list[tuple[Chip, Sequence[Modality]]]:
        """Chips at even distances over all that is missing."""
        shards = list(self.missing)
        ends = np.cumsum([len(shard) for shard in shards])
        places = np.unique(np.linspace(0, self.chips - 1, min(count, self.chips)).astype(int))
        holding = np.searchsorted(ends, places, side="right")
        return [
            (self.manifest[shards[index].stop + int(place - ends[index])], self.missing[shards[index]])
            for place, index in zip(places, holding, strict=True)
        ]


@dataclass(frozen=True)
class Pilot:
    """What a few chips took: seconds of one (median), pixel requests and bytes of all, bytes as stored, what was not
    there (reasons per layer and chip), and EECU-seconds of all by their profiles; None where they could not be read.
    """

    chips: int
    seconds: float
    pixel_requests: int
    received_bytes: int
    stored_bytes: int
    reasons: tuple[tuple[str, str], ...]
    eecu_s: float | None = None


@dataclass(frozen=True)
class Estimate:
    """An export's cost, scaled up from a pilot; `eecu_h` in EECU-hours, None where profiles could not be read."""

    chips: int
    requests: int
    hours: float
    received_gb: float
    stored_gb: float
    free_gb: float
    concurrency: int
    eecu_h: float | None = None

    def months(self) -> dict[str, float]:
        """How many months' quota of each noncommercial tier all of it takes; nothing where the cost is unknown."""
        return {} if self.eecu_h is None else {tier: self.eecu_h / hours for tier, hours in TIERS.items()}

    def affordable_eecu_s(self) -> dict[str, float]:
        """EECU-seconds a chip may cost for all of it to fit one month of each noncommercial tier."""
        return {tier: hours * 3600 / max(1, self.chips) for tier, hours in TIERS.items()}


def readable(engine: EarthEngine, work: Work) -> list[str]:
    """Look up every asset of the layers that ask Earth Engine, and the collections of the pinned scenes.

    Returns their ids; raises `Fatal` naming all that do not exist or may not be read.
    """
    wanted = sorted(_assets(work))
    refused = [said for said in threads.each(lambda name: _refusal(engine, name), wanted, 8) if said]
    if refused:
        raise Fatal(
            f"{len(refused)} of {len(wanted)} assets cannot be read: {'; '.join(sorted(refused))}. "
            "Ask for access, correct the modality, or leave it out of corpus.modalities."
        )
    return wanted


def _assets(work: Work) -> set[str]:
    asking = [layer for layer in work.layers if not isinstance(source_of(layer), Local)]
    return {asset for layer in asking for asset in layer.assets} | (_collections(work.manifest) if asking else set())


def _collections(manifest: Manifest) -> set[str]:
    names: set[str] = set()
    for columns in manifest.pieces("anchor_id", "ascending_id", "descending_id"):
        names |= {str(name).rpartition("/")[0] for column in columns for name in column if name}
    return names - {""}


def _refusal(engine: EarthEngine, asset_id: str) -> str | None:
    try:
        engine.call(lambda: ee.data.getAsset(asset_id))
    except (Missing, Fatal) as error:
        return f"{asset_id} ({str(error).rstrip('.')})"
    return None


def pilot(engine: EarthEngine, work: Work, count: int = PILOT_CHIPS) -> Pilot:
    """Pull a few chips as the export would, and keep nothing.

    A chip that fails is left out: alone, it would not stop the export. Raises what the last one raised when all fail.
    """
    puller = Puller(engine)
    sample = work.sample(count)
    before = engine.figures()
    with engine.profiled() as cost:
        tried = list(threads.each(lambda item: _timed(puller, *item), sample, engine.connection.concurrency))
        came = [one for one in tried if not isinstance(one, Exception)]
        if not came:
            raise next(one for one in tried if isinstance(one, Exception))
        after = engine.figures()
        means = _means(puller, [chip for chip, _ in sample], puller.of(Region, work.layers))
    everything = [pulled for _, pulled in came] + means
    return Pilot(
        len(came), statistics.median(seconds for seconds, _ in came), after.requests - before.requests,
        engine.figures().bytes_received - before.bytes_received,
        sum(compressed_bytes(block) for one in everything for block in one.values.values()),
        tuple(sorted((name, reason) for one in everything for name, reason in one.missing.items())),
        cost.eecu_s,
    )  # fmt: skip


def _timed(puller: Puller, chip: Chip, layers: Sequence[Modality]) -> tuple[float, ChipResult] | Exception:
    started = time.monotonic()
    try:
        pulled = puller.pixels(chip, puller.of(Pixels, layers))
    except (Transient, OneTooLarge) as error:
        return error
    return time.monotonic() - started, pulled.join(puller.local(chip, puller.of(Local, layers)))


def _means(puller: Puller, chips: Sequence[Chip], layers: Sequence[Modality]) -> list[ChipResult]:
    try:
        return list(puller.regions(chips, layers).values())
    except (Transient, OneTooLarge):
        return []


def estimate(engine: EarthEngine, work: Work, tried: Pilot, folder: Path) -> Estimate:
    """Scale the pilot up to all that is missing, at the configured concurrency and rate."""
    connection = engine.connection
    scale = work.chips / tried.chips
    pixel_requests = round(tried.pixel_requests * scale)
    requests = pixel_requests + work.region_requests
    seconds = max(tried.seconds * work.chips / connection.concurrency, requests / connection.requests_per_s)
    return Estimate(
        work.chips, requests, seconds / 3600, tried.received_bytes * scale / 1e9, tried.stored_bytes * scale / 1e9,
        free_bytes(folder) / 1e9, connection.concurrency,
        None if tried.eecu_s is None else tried.eecu_s * scale / 3600,
    )  # fmt: skip


def free_bytes(folder: Path) -> int:
    """Room on the disk that holds, or would hold, the folder."""
    return shutil.disk_usage(_there(folder)).free


def _there(folder: Path) -> Path:
    """The folder, or what exists of the way to it."""
    return next(item for item in (folder.absolute(), *folder.absolute().parents) if item.exists())


def _disk_of(folder: Path) -> int:
    return _there(folder).stat().st_dev


def refuse_full_disk(estimate: Estimate, work: Work, folder: Path, store: Store) -> None:
    """Raise `Fatal` when the store, or the largest shard's chips while it is in work, do not fit on their disk.

    The chips in work are in the corpus folder; the store may be on another disk, or in a bucket, which has room.
    """
    spool_gb = max(len(shard) for shard in work.missing) * work.raw_bytes_per_chip / 1e9
    if store.folder is None:
        _refuse_full(folder, spool_gb)
    elif _disk_of(store.folder) == _disk_of(folder):
        _refuse_full(store.folder, estimate.stored_gb + spool_gb)
    else:
        _refuse_full(folder, spool_gb)
        _refuse_full(store.folder, estimate.stored_gb)


def _refuse_full(folder: Path, content_gb: float) -> None:
    needed_gb, free_gb = _SPARE * content_gb, free_bytes(folder) / 1e9
    if needed_gb > free_gb:
        raise Fatal(
            f"the disk of {folder} has {free_gb:.1f} GB free, but about {needed_gb:.1f} GB are needed; "
            "make room, or give another corpus.folder or corpus.store."
        )
