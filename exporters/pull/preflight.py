"""Checks before a long export: can all assets be read, is there disk space, what will it cost? Writes nothing."""

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
_SPARE = 1.1  # free space that the disk should have, as a multiple of the estimate


@dataclass(frozen=True)
class Work:
    """What an export would do: the layers to pull, for each unfinished shard."""

    manifest: Manifest
    unfinished: Mapping[Shard, Sequence[Modality]]

    @property
    def chips(self) -> int:
        """Chips of unfinished shards."""
        return sum(len(shard) for shard in self.unfinished)

    @property
    def layers(self) -> list[Modality]:
        """Every layer that is unfinished in some shard."""
        return list({layer.name: layer for layers in self.unfinished.values() for layer in layers}.values())

    @property
    def region_requests(self) -> int:
        """The number of requests for regional means, up to `REGION_ROWS` chips each."""
        means = {layer.name for layer in self.layers if isinstance(source_of(layer), Region)}
        return sum(
            -(-len(shard) // REGION_ROWS)
            for shard, layers in self.unfinished.items()
            if any(layer.name in means for layer in layers)
        )

    @property
    def raw_bytes_per_chip(self) -> int:
        """The bytes of a chip with all layers, uncompressed."""
        shapes = [(layer.shape(self.manifest.size_px), np.dtype(layer.dtype).itemsize) for layer in self.layers]
        return sum(int(np.prod(shape)) * size for shape, size in shapes)

    def sample(self, count: int) -> list[tuple[Chip, Sequence[Modality]]]:
        """`count` chips at equal distances among the unfinished ones, each with its unfinished layers."""
        shards = list(self.unfinished)
        ends = np.cumsum([len(shard) for shard in shards])
        indices = np.unique(np.linspace(0, self.chips - 1, min(count, self.chips)).astype(int))
        shard_indices = np.searchsorted(ends, indices, side="right")
        return [
            (self.manifest[shards[at].stop + int(index - ends[at])], self.unfinished[shards[at]])
            for index, at in zip(indices, shard_indices, strict=True)
        ]


@dataclass(frozen=True)
class Pilot:
    """What a few chips cost: seconds of one (median), pixel requests and bytes of all, and bytes as stored.

    `reasons` are pairs of a layer and why a chip has no data of it; `eecu_s` the EECU-seconds of all by their profiles,
    None where these could not be read.
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
    """An export's cost, scaled up from a pilot; `eecu_h` in EECU-hours, None where no profile could be read."""

    chips: int
    requests: int
    hours: float
    received_gb: float
    stored_gb: float
    free_gb: float
    concurrency: int
    eecu_h: float | None = None

    def months(self) -> dict[str, float]:
        """The cost in monthly quotas of each noncommercial tier; empty where the cost is unknown."""
        return {} if self.eecu_h is None else {tier: self.eecu_h / hours for tier, hours in TIERS.items()}

    def affordable_eecu_s(self) -> dict[str, float]:
        """EECU-seconds that a chip may cost if the export is to fit one month of each noncommercial tier."""
        return {tier: hours * 3600 / max(1, self.chips) for tier, hours in TIERS.items()}


def readable(engine: EarthEngine, work: Work) -> list[str]:
    """Look up every asset of the layers that Earth Engine computes, and the collections of the pinned scenes.

    Returns their ids; raises `Fatal` naming all that do not exist or may not be read.
    """
    asset_ids = sorted(_assets(work))
    refused = [refusal for refusal in threads.each(lambda name: _refusal(engine, name), asset_ids, 8) if refusal]
    if refused:
        raise Fatal(
            f"{len(refused)} of {len(asset_ids)} assets cannot be read: {'; '.join(sorted(refused))}. "
            "Ask for access, correct the modality, or leave it out of corpus.modalities."
        )
    return asset_ids


def _assets(work: Work) -> set[str]:
    remote_layers = [layer for layer in work.layers if not isinstance(source_of(layer), Local)]
    collections = _collections(work.manifest) if remote_layers else set()
    return {asset for layer in remote_layers for asset in layer.assets} | collections


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
    """Pull a few chips as the export would, and store nothing.

    A chip that fails is left out: a single one would not stop the export. Raises the error of one when all fail.
    """
    puller = Puller(engine)
    sample = work.sample(count)
    before = engine.figures()
    with engine.profiled() as cost:
        trials = list(threads.each(lambda item: _try_chip(puller, *item), sample, engine.connection.concurrency))
        succeeded = [item for item in trials if not isinstance(item, Exception)]
        if not succeeded:
            raise next(item for item in trials if isinstance(item, Exception))
        after = engine.figures()
        means = _means(puller, [chip for chip, _ in sample], puller.of(Region, work.layers))
    pulled_chips = [pulled for _, pulled in succeeded] + means
    return Pilot(
        len(succeeded), statistics.median(seconds for seconds, _ in succeeded), after.requests - before.requests,
        engine.figures().bytes_received - before.bytes_received,
        sum(compressed_bytes(block) for item in pulled_chips for block in item.values.values()),
        tuple(sorted((name, reason) for item in pulled_chips for name, reason in item.missing.items())),
        cost.eecu_s,
    )  # fmt: skip


def _try_chip(puller: Puller, chip: Chip, layers: Sequence[Modality]) -> tuple[float, ChipResult] | Exception:
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


def estimate(engine: EarthEngine, work: Work, measured: Pilot, folder: Path) -> Estimate:
    """Scale the pilot up to all unfinished chips, at the configured concurrency and rate."""
    connection = engine.connection
    scale = work.chips / measured.chips
    pixel_requests = round(measured.pixel_requests * scale)
    requests = pixel_requests + work.region_requests
    seconds = max(measured.seconds * work.chips / connection.concurrency, requests / connection.requests_per_s)
    return Estimate(
        work.chips, requests, seconds / 3600,
        measured.received_bytes * scale / 1e9, measured.stored_bytes * scale / 1e9, free_bytes(folder) / 1e9,
        connection.concurrency,
        None if measured.eecu_s is None else measured.eecu_s * scale / 3600,
    )  # fmt: skip


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk of the folder, which need not exist yet."""
    return shutil.disk_usage(_existing(folder)).free


def _existing(folder: Path) -> Path:
    """The folder, or its nearest parent that exists."""
    return next(item for item in (folder.absolute(), *folder.absolute().parents) if item.exists())


def _disk_of(folder: Path) -> int:
    return _existing(folder).stat().st_dev


def refuse_full_disk(estimate: Estimate, work: Work, folder: Path, store: Store) -> None:
    """Raise `Fatal` when the store, or the spooled chips of the largest shard, do not fit on their disk.

    The spool is in the corpus folder. The store may be on another disk, or in a bucket, whose space is not checked.
    """
    spool_gb = max(len(shard) for shard in work.unfinished) * work.raw_bytes_per_chip / 1e9
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
