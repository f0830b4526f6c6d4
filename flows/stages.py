"""The stages of a corpus, each a plain function that resumes by being called again; flows and commands wrap them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from exporters import catalog
from exporters.anchor import anchoring
from exporters.anchor.anchoring import Anchored, AnchorRules
from exporters.earth_engine import compute
from exporters.earth_engine.client import Connection, EarthEngine, connect
from exporters.earth_engine.compute import USAGE, Usage
from exporters.earth_engine.retry import Patience
from exporters.pull.export import Pull, ShardReport, each_shard, puller
from exporters.report.facts import coverage
from exporters.report.report import publish
from flows import preflight, sampling_plan, sandbox_process
from flows.cluster import cluster
from flows.extras import require
from flows.settings import Settings, without_run
from pipeline import durable
from pipeline.chip import Chip
from pipeline.corpus import MANIFEST, Corpus, place_of
from pipeline.errors import Fatal
from pipeline.location import read_locations, write_location_table
from pipeline.lock import RUNS
from pipeline.manifest import Manifest
from pipeline.modality import Modality
from pipeline.progress import Progress
from pipeline.shard import Shard
from pipeline.store import Store
from sampling.allocation import read_allocation, write_allocation
from sampling.picture import write_picture
from sampling.regions import write_regions
from sampling.sample import Sample, write_sample
from training.config import RENAMED, PretrainConfig

LOCATIONS = "locations.parquet"
ALLOCATION = "allocation.json"
SAMPLE = "sample.json"
SAMPLE_PICTURE = "sample.png"
REGIONS = "regions.parquet"
REGION_CACHE = "regions-source.parquet"
ANCHORS = "anchors"
REJECTED = "rejected.parquet"
SPOOL = "spool"
SHARDS_AT_ONCE = 2  # in this process: one is pulled while the other is written
REPORT = "report.html"


def program(name: str = "geocorpus") -> str:
    """How to type one of our programs from here: by its bare name, or by its path where it is on none."""
    if shutil.which(name):
        return name
    return os.path.relpath(Path(sys.prefix) / "bin" / name)


@contextmanager
def earth_engine(settings: Settings) -> Iterator[EarthEngine]:
    """A connected client: to the project's Earth Engine, to a URL, or to a sandbox started for as long as needed."""
    source = settings.source
    if not settings.uses_sandbox:
        yield connect(_connection(settings, source.url))
        return
    with sandbox_process.running(source) as url:
        yield connect(_connection(settings, url))


def _connection(settings: Settings, url: str | None) -> Connection:
    source = settings.source
    return Connection(
        project=source.project,
        url=url,
        concurrency=source.concurrency,
        requests_per_s=source.requests_per_s,
        deadline_s=source.deadline_s,
        profile_every=compute.EVERY,
        patience=Patience(transient_attempts=source.attempts, throttled_s=source.patience_s),
    )


def layers(settings: Settings) -> list[Modality]:
    """The modalities that the settings ask for; raises `Fatal` for unknown names before anything is written."""
    return catalog.modalities(settings.corpus.modalities or None, settings.corpus.modality_files)


def check(settings: Settings) -> None:
    """Refuse what can be refused before any work, so that nothing is written that a correction could not use."""
    layers(settings)
    store_of(settings)
    run_name(settings)
    settings.refuse_changes()


def needs_engine_to_sample(settings: Settings) -> bool:
    """Whether `sample` has to ask Earth Engine for its regions."""
    return sampling_plan.needs_engine(settings) and not (settings.folder / LOCATIONS).exists()


def sample(settings: Settings, engine: EarthEngine | None, progress: Progress) -> str:
    """Draw candidate locations per stratum: `allocation.json`, `regions.parquet`, `locations.parquet` (last)."""
    said = f"Candidates are in {settings.folder / LOCATIONS}. Next: {program()} anchor {settings.folder}"
    if (settings.folder / LOCATIONS).exists():
        return said
    progress.start("sample", settings.sampling.locations)
    regions = sampling_plan.regions(settings, engine, settings.folder / REGION_CACHE)
    drawn = sampling_plan.sample(settings, regions)
    settings.save()
    if regions is not None:
        write_regions(settings.folder / REGIONS, regions)
    write_allocation(settings.folder / ALLOCATION, drawn.allocation)
    write_sample(settings.folder / SAMPLE, drawn)
    write_picture(settings.folder / SAMPLE_PICTURE, drawn, regions)
    write_location_table(settings.folder / LOCATIONS, drawn.table)
    _say_sampled(drawn, progress)
    return f"{said}\nA picture of them is {settings.folder / SAMPLE_PICTURE}."


def _say_sampled(drawn: Sample, progress: Progress) -> None:
    for note in drawn.notes:
        progress.say(note)
    for reason, count in drawn.refused.items():
        progress.say(f"{count} candidates passed over, and replaced where there was room: each {reason}.")
    empty_strata, strata = len(drawn.allocation.empty_strata), len(drawn.allocation.quotas)
    if empty_strata:
        progress.say(f"{empty_strata} of {strata} regions get no place: too few locations or no room.")
    progress.note(candidates=len(drawn.table), strata=strata)
    progress.advance(drawn.allocation.total)


def anchor(settings: Settings, engine: EarthEngine, progress: Progress) -> str:
    """Pin every location to its scenes and grid, and freeze the manifest (last)."""
    folder = settings.folder
    said = f"The manifest is frozen in {folder / MANIFEST}. Next: {program()} export {folder}"
    if (folder / MANIFEST).exists():
        return said
    locations = read_locations(folder / LOCATIONS)
    counts = read_allocation(folder / ALLOCATION).counts
    corpus, own_zone = settings.corpus, settings.sampling.strategy == sampling_plan.TILES
    rules = AnchorRules(**settings.anchor.model_dump(), size_px=corpus.size_px, seed=corpus.seed, own_zone=own_zone)
    with engine.counting(_usage(settings)):
        anchored = anchoring.anchor(engine, locations, counts, rules, folder / ANCHORS, progress)
    _write_rejected(folder, anchored)
    manifest = Manifest.freeze(_with_splits(settings, anchored.chips), settings.corpus.seed)
    manifest.write(folder / MANIFEST)
    _say_shortfalls(anchored, progress)
    return said


def _with_splits(settings: Settings, chips: list[Chip]) -> list[Chip]:
    """The split of a chip follows from its place alone, so that it is the one that sampling kept apart."""
    lonlat = np.array([chip.location.lonlat for chip in chips]).reshape(-1, 2)
    names = sampling_plan.split_rule(settings).of(lonlat)
    return [replace(chip, split=str(name)) for chip, name in zip(chips, names, strict=True)]


def _say_shortfalls(anchored: Anchored, progress: Progress) -> None:
    lacking = sum(anchored.shortfalls.values())
    if lacking:
        strata = ", ".join(f"{name} ({count})" for name, count in sorted(anchored.shortfalls.items())[:5])
        progress.say(
            f"{lacking} of the places asked for found no usable scene, in {strata}: rejected.parquet says why; "
            "more anchor.years, anchor.max_cloud_percent or sampling.overdraw may fill them."
        )


def _write_rejected(folder: Path, anchored: Anchored) -> None:
    frame = anchored.rejected_frame()
    durable.publish(folder / REJECTED, lambda temporary: frame.to_parquet(temporary, index=False))


def store_of(settings: Settings) -> Store:
    """Where the arrays are, or are to be."""
    return place_of(settings.folder, settings.corpus.store)


def lay_out(settings: Settings) -> tuple[Corpus, list[Modality]]:
    """Create the store for the frozen manifest, or open it; adds arrays of modalities that it lacks.

    Returns the corpus, and the layers that the settings ask for, completed from its manifest.
    """
    manifest = Manifest.read(settings.folder / MANIFEST)
    bound = catalog.bound(layers(settings), manifest)
    corpus = Corpus.create(settings.folder, bound, settings.corpus.shard_rows, settings.corpus.store, manifest)
    settings.save()
    return corpus, bound


def _work(manifest: Manifest, missing: Mapping[Shard, Sequence[str]], wanted: Mapping[str, Modality]) -> preflight.Work:
    return preflight.Work(manifest, {shard: [wanted[name] for name in names] for shard, names in missing.items()})


def dry_run(settings: Settings, engine: EarthEngine) -> str:
    """What `export` would do and take; pulls a few chips and writes nothing."""
    store = store_of(settings)
    corpus = Corpus.open(settings.folder) if store.exists else None
    manifest = corpus.manifest if corpus else Manifest.read(settings.folder / MANIFEST)
    wanted = {modality.name: modality for modality in catalog.bound(layers(settings), manifest)}
    if corpus:
        missing = corpus.missing(wanted)
    else:
        missing = {shard: tuple(wanted) for shard in manifest.shards(settings.corpus.shard_rows)}
    return preflight.dry_run(engine, _work(manifest, missing, wanted), settings.folder, store)


Run = Callable[[str, Callable[[], ShardReport]], ShardReport]  # makes the call that has this name


def _at_once(_name: str, call: Callable[[], ShardReport]) -> ShardReport:
    return call()


def export(settings: Settings, engine: EarthEngine, progress: Progress, run: Run = _at_once) -> str:
    """Pull what the ledger lacks, a few shards at once, here or on a cluster; `run` makes the call for each."""
    corpus, bound = lay_out(settings)
    wanted = {modality.name: modality for modality in bound}
    missing = corpus.missing(wanted)
    if missing:
        with engine.counting(_usage(settings)):
            preflight.before(engine, _work(corpus.manifest, missing, wanted), settings.folder, corpus.store, progress)
            with _pulling(settings, engine, corpus, bound, progress) as (pull, shards_at_once):
                called = partial(_called, engine, run, pull)
                for _ in each_shard(corpus, list(wanted), called, progress, shards_at_once):
                    pass  # the ledger remembers
    if not corpus.missing():
        shutil.rmtree(settings.folder / SPOOL, ignore_errors=True)
    return f"All pixels are in {corpus.store.url}. Next: {program()} finalize {settings.folder}"


def _usage(settings: Settings) -> Usage:
    return Usage(settings.folder / USAGE, settings.source.eecu_hours)


def _called(engine: EarthEngine, run: Run, pull: Pull, shard: Shard, names: Sequence[str]) -> ShardReport:
    engine.refuse_overspending()  # on a cluster, where whoever pulls does not know
    return run(f"export shard {shard.index}", partial(pull, shard, names))


@contextmanager
def _pulling(
    settings: Settings, engine: EarthEngine, corpus: Corpus, bound: Sequence[Modality], progress: Progress
) -> Iterator[tuple[Pull, int]]:
    """What pulls a shard, in this process or on a cluster, and how many shards are in work at once."""
    spool = settings.folder / SPOOL
    if settings.cluster.kind == "none":
        yield puller(engine, corpus, bound, spool, progress), settings.cluster.shards_at_once or SHARDS_AT_ONCE
        return
    job = cluster.job_spec_of(engine.connection, settings.corpus, spool)
    with cluster.running(settings.cluster, engine, job, progress) as workers:
        yield workers.pull, settings.cluster.shards_at_once or workers.size


def finalize(settings: Settings, progress: Progress) -> str:
    """Publish statistics, consolidate the metadata, write the report."""
    corpus = Corpus.open(settings.folder)
    unfinished = corpus.missing()
    if unfinished:
        raise Fatal(f"{len(unfinished)} of {len(corpus.shards)} shards are not finished; run `geocorpus export` first.")
    progress.start("finalize", 2)
    corpus.finalize()
    progress.advance()
    covered = coverage(corpus)
    report = publish(corpus, covered)
    for flag in (flag for layer in covered for flag in layer.quality.flags()):
        progress.say(f"look at this: {flag}.")
    progress.advance()
    return f"The report is {report}. Next: {program()} pretrain {settings.folder}"


def run_name(settings: Settings) -> str:
    """The folder of a training run below `runs/`: `pretrain.run`, or the names of the preset and the pretext."""
    data = settings.pretrain
    chosen = [str(data[key]) for key in ("preset", "pretext") if key in data]
    name = str(data.get("run", "-".join(chosen) or "pretrain"))
    if Path(name).name != name or name in (".", ".."):
        raise Fatal(f"setting pretrain.run = {name!r} is not allowed: it names a folder below {RUNS}/.")
    return name


def pretrain(settings: Settings, progress: Progress) -> str:
    """Train on the corpus; the run is kept in `runs/<run>` of the corpus folder."""
    require("train", "training")
    from training.pretrain.train import pretrain as train

    for old in RENAMED.keys() & settings.pretrain.keys():
        progress.say(f"Setting pretrain.{old} is called pretrain.{RENAMED[old]} now; the old name goes on working.")
    config = PretrainConfig.from_dict(without_run(settings.pretrain))
    result = train(settings.folder, config, settings.folder / RUNS / run_name(settings), progress)
    falls = [
        f"    {name:<22}{result.first_losses[name]:>8.3f} to {last:.3f}"
        for name, last in result.last_losses.items()
        if name in result.first_losses
    ]
    return "\n".join([f"{result.steps} steps, encoder in {result.weights}; losses per modality:", *falls])


def summary(settings: Settings, requests: int, trained: str) -> str:
    """The demo's closing lines: where everything is and what to run next."""
    folder = settings.folder
    corpus = Corpus.open(folder)
    return "\n".join(
        [
            "",
            f"A corpus of {len(corpus.manifest)} chips; this run made {requests} requests to Earth Engine:",
            f"  report    {folder / REPORT}    open it in a browser",
            f"  store     {corpus.store.url}    xarray.open_zarr reads it",
            f"  manifest  {folder / MANIFEST}    QGIS and GeoPandas read it",
            f"  training  {trained}",
            "",
            "Next:",
            f"  {program()} status {folder}",
            f"  {program('tensorboard')} --logdir {folder / RUNS}",
            f"  {program()} pretrain {folder} pretrain.preset=atto    the published encoder size",
            f"  {program()} build mmearth source.project=YOUR-PROJECT corpus.folder=mine sampling.locations=100",
        ]
    )
