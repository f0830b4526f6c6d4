"""The stages of a corpus. Each is a function that resumes when it is called again; flows and commands wrap them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

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
from pipeline.corpus import MANIFEST, Corpus, place_of
from pipeline.errors import Fatal
from pipeline.location import write_location_table
from pipeline.locations import Locations
from pipeline.lock import RUNS
from pipeline.manifest import Manifest
from pipeline.modality import Modality
from pipeline.progress import Progress
from pipeline.shard import Shard
from pipeline.store import Store
from sampling.allocation import read_allocation, write_allocation
from sampling.regions import Regions, write_regions
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
    """How to type one of our programs: its name if it is on PATH, otherwise its path from the working folder."""
    if shutil.which(name):
        return name
    return os.path.relpath(Path(sys.prefix) / "bin" / name)


@contextmanager
def earth_engine(settings: Settings) -> Iterator[EarthEngine]:
    """A client connected to the project's Earth Engine, to a URL, or to a sandbox that is started and ended here.

    Raises `Fatal` when the sandbox does not start or the service refuses the connection.
    """
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
    """Raise `Fatal` for settings that some stage would refuse later, before any work is done and any file written."""
    layers(settings)
    store_of(settings)
    run_name(settings)
    settings.refuse_changes()


def needs_engine_to_sample(settings: Settings) -> bool:
    """Whether `sample` has to ask Earth Engine for its regions."""
    return sampling_plan.needs_engine(settings) and not (settings.folder / LOCATIONS).exists()


def sample(settings: Settings, engine: EarthEngine | None, progress: Progress) -> str:
    """Draw candidate locations per stratum: `allocation.json`, `regions.parquet`, `locations.parquet` (last).

    Raises `Fatal` when no regions or points are set, they cannot be read, or they have no room for the locations.
    """
    message = f"Candidates are in {settings.folder / LOCATIONS}. Next: {program()} anchor {settings.folder}"
    if (settings.folder / LOCATIONS).exists():
        return message
    progress.start("sample", settings.sampling.locations)
    regions = sampling_plan.regions(settings, engine, settings.folder / REGION_CACHE)
    drawn = sampling_plan.sample(settings, regions)
    settings.save()
    if regions is not None:
        write_regions(settings.folder / REGIONS, regions)
    write_allocation(settings.folder / ALLOCATION, drawn.allocation)
    write_sample(settings.folder / SAMPLE, drawn)
    _draw(settings, drawn, regions)
    write_location_table(settings.folder / LOCATIONS, drawn.table)
    _say_sampled(drawn, progress)
    return f"{message}\nA picture of them is {settings.folder / SAMPLE_PICTURE}."


def _draw(settings: Settings, drawn: Sample, regions: Regions | None) -> None:
    from sampling.picture import write_picture  # here, or every command would load matplotlib

    write_picture(settings.folder / SAMPLE_PICTURE, drawn, regions)


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
    """Pin every location to its scenes and grid, and freeze the manifest (last).

    Raises `Fatal` when the tables of `sample` are absent or damaged, and the errors of Earth Engine.
    """
    folder = settings.folder
    message = f"The manifest is frozen in {folder / MANIFEST}. Next: {program()} export {folder}"
    if (folder / MANIFEST).exists():
        return message
    locations = _candidates(settings)
    counts = read_allocation(folder / ALLOCATION).counts
    corpus, own_zone = settings.corpus, settings.sampling.strategy == sampling_plan.TILES
    rules = AnchorRules(**settings.anchor.model_dump(), size_px=corpus.size_px, seed=corpus.seed, own_zone=own_zone)
    with engine.counting(_usage(settings)):
        anchored = anchoring.anchor(engine, locations, counts, rules, folder / ANCHORS, progress)
    _write_rejected(folder, anchored)
    Manifest.freeze_rows(anchored.rows, settings.corpus.seed).write(folder / MANIFEST)
    _say_shortfalls(anchored, progress)
    return message


def _candidates(settings: Settings) -> Locations:
    """The sampled candidates. Splits are added if the table has none: a split depends on the location alone."""
    locations = Locations.read(settings.folder / LOCATIONS)
    if locations.have_split:
        return locations
    return locations.with_split(sampling_plan.split_rule(settings).of(locations.lonlat))


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
    """The store of the arrays, whether it exists yet or not; raises `Fatal` for a URL that cannot be used."""
    return place_of(settings.folder, settings.corpus.store)


def lay_out(settings: Settings) -> tuple[Corpus, list[Modality]]:
    """Create the store for the frozen manifest, or open it; adds arrays of modalities that it lacks.

    Returns the corpus, and the layers that the settings ask for, completed from its manifest. Raises `Fatal` and
    `Transient` as `Corpus.create` does.
    """
    manifest = Manifest.read(settings.folder / MANIFEST)
    bound = catalog.bound(layers(settings), manifest)
    corpus = Corpus.create(settings.folder, bound, settings.corpus.shard_rows, settings.corpus.store, manifest)
    settings.save()
    return corpus, bound


def _work(manifest: Manifest, pending: Mapping[Shard, Sequence[str]], wanted: Mapping[str, Modality]) -> preflight.Work:
    return preflight.Work(manifest, {shard: [wanted[name] for name in names] for shard, names in pending.items()})


def dry_run(settings: Settings, engine: EarthEngine) -> str:
    """A check and an estimate of `export`; pulls a few chips and writes nothing.

    Raises `Fatal` for what would stop the export.
    """
    store = store_of(settings)
    corpus = Corpus.open(settings.folder) if store.exists else None
    manifest = corpus.manifest if corpus else Manifest.read(settings.folder / MANIFEST)
    wanted = {modality.name: modality for modality in catalog.bound(layers(settings), manifest)}
    if corpus:
        pending = corpus.missing(wanted)
    else:
        pending = {shard: tuple(wanted) for shard in manifest.shards(settings.corpus.shard_rows)}
    return preflight.dry_run(engine, _work(manifest, pending, wanted), settings.folder, store)


Caller = Callable[[str, Callable[[], ShardReport]], ShardReport]  # calls a function under a name, for example as a task


def _direct_call(_name: str, function: Callable[[], ShardReport]) -> ShardReport:
    return function()


def export(settings: Settings, engine: EarthEngine, progress: Progress, caller: Caller = _direct_call) -> str:
    """Pull the shards and layers without a ledger entry, a few shards at once, here or on a cluster.

    `caller` calls the function that pulls a shard. Raises `Fatal` and `Transient` for errors of the settings, the
    store, the cluster and Earth Engine; what is finished by then stays finished.
    """
    corpus, bound = lay_out(settings)
    wanted = {modality.name: modality for modality in bound}
    pending = corpus.missing(wanted)
    if pending:
        with engine.counting(_usage(settings)):
            preflight.before(engine, _work(corpus.manifest, pending, wanted), settings.folder, corpus.store, progress)
            with _pulling(settings, engine, corpus, bound, progress) as (pull, shards_at_once):
                pull_checked = partial(_pull_checked, engine, caller, pull)
                for _ in each_shard(corpus, list(wanted), pull_checked, progress, shards_at_once):
                    pass  # the reports are not needed: the ledger records the shards
    if not corpus.missing():
        shutil.rmtree(settings.folder / SPOOL, ignore_errors=True)
    return f"All pixels are in {corpus.store.url}. Next: {program()} finalize {settings.folder}"


def _usage(settings: Settings) -> Usage:
    return Usage(settings.folder / USAGE, settings.source.eecu_hours)


def _pull_checked(engine: EarthEngine, caller: Caller, pull: Pull, shard: Shard, names: Sequence[str]) -> ShardReport:
    engine.refuse_overspending()  # for a cluster, whose workers do not know the total
    return caller(f"export shard {shard.index}", partial(pull, shard, names))


@contextmanager
def _pulling(
    settings: Settings, engine: EarthEngine, corpus: Corpus, bound: Sequence[Modality], progress: Progress
) -> Iterator[tuple[Pull, int]]:
    """The function that pulls a shard, in this process or on a cluster, and the number of shards to pull at once."""
    spool = settings.folder / SPOOL
    if settings.cluster.kind == "none":
        yield puller(engine, corpus, bound, spool, progress), settings.cluster.shards_at_once or SHARDS_AT_ONCE
        return
    job = cluster.job_spec_of(engine.connection, settings.corpus, spool)
    with cluster.running(settings.cluster, engine, job, progress) as workers:
        yield workers.pull, settings.cluster.shards_at_once or workers.size


def finalize(settings: Settings, progress: Progress) -> str:
    """Publish the statistics, consolidate the metadata, write the report. Raises `Fatal` for unfinished shards."""
    corpus = Corpus.open(settings.folder)
    unfinished = corpus.missing()
    if unfinished:
        raise Fatal(f"{len(unfinished)} of {len(corpus.shards)} shards are not finished; run `geocorpus export` first.")
    progress.start("finalize", 2)
    corpus.finalize()
    progress.advance()
    layer_coverage = coverage(corpus)
    report = publish(corpus, layer_coverage)
    for flag in (flag for layer in layer_coverage for flag in layer.quality.flags()):
        progress.say(f"look at this: {flag}.")
    progress.advance()
    return f"The report is {report}. Next: {program()} pretrain {settings.folder}"


def run_name(settings: Settings) -> str:
    """The folder of a training run below `runs/`: `pretrain.run`, or the names of the preset and the pretext.

    Raises `Fatal` for a name that is no single folder.
    """
    data = settings.pretrain
    chosen = [str(data[key]) for key in ("preset", "pretext") if key in data]
    name = str(data.get("run", "-".join(chosen) or "pretrain"))
    if Path(name).name != name or name in ("", ".", ".."):
        raise Fatal(f"setting pretrain.run = {name!r} is not allowed: it names a folder below {RUNS}/.")
    return name


def pretrain(settings: Settings, progress: Progress) -> str:
    """Train on the corpus, in the folder `runs/<run>` of the corpus.

    Raises `Fatal` when PyTorch is not installed, a setting is wrong or the corpus cannot be trained on.
    """
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
    """The demo's closing lines: where the results are, and what to run next."""
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
