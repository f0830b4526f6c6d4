"""The stages of a corpus. Each is a function that resumes when it is called again; flows and commands wrap them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from textwrap import wrap

from exporters import catalog
from exporters.anchor import anchoring, gridding
from exporters.anchor.anchoring import Anchored, AnchorRules
from exporters.anchor.chip_clouds import refuse_untold_levels
from exporters.earth_engine import compute
from exporters.earth_engine.client import Connection, EarthEngine, connect, unconnected
from exporters.earth_engine.compute import USAGE, Usage
from exporters.earth_engine.retry import Patience
from exporters.files import static_layer
from exporters.pull.export import Pull, ShardReport, each_shard, puller
from exporters.report.facts import coverage
from exporters.report.report import publish
from flows import file_source, growth, own_columns, preflight, sampling_plan, sandbox_process
from flows.closing import Closing
from flows.cluster import cluster
from flows.extras import require
from flows.growth import REJECTED, Step
from flows.loss_words import loss_words
from flows.settings import Settings, as_typed, without_run
from pipeline import durable
from pipeline.corpus import Corpus
from pipeline.corpus_folder import LOCATIONS, MANIFEST, place_of, refuse_read_only
from pipeline.errors import Fatal
from pipeline.imported import Imported
from pipeline.location import write_location_table
from pipeline.locations import Locations
from pipeline.lock import RUNS
from pipeline.manifest import Manifest
from pipeline.modality import Modality
from pipeline.progress import Progress
from pipeline.provenance import Provenance
from pipeline.shard import Shard
from pipeline.store import Store
from sampling.allocation import read_allocation, write_allocation
from sampling.dropped import DROPPED, write_dropped
from sampling.point_sample import STRATUM
from sampling.regions import Regions, write_regions
from sampling.sample import Sample, write_sample
from training.config import RENAMED, PretrainConfig

ALLOCATION = "allocation.json"
SAMPLE = "sample.json"
SAMPLE_PICTURE = "sample.png"
REGIONS = "regions.parquet"
REGION_CACHE = "regions-source.parquet"
ANCHORS = "anchors"
SPOOL = "spool"
_CHOOSING = ("sample", "build", "demo", "demo-sensors")  # the stages by which a corpus may grow
_READING = ("finalize", "pretrain", "finetune")  # the stages that take what is stored, and pull nothing
SHARDS_AT_ONCE = 2  # in this process: one is pulled while the other is written
_WORDS_WIDTH = 76  # with their indent they fit a terminal of 80 columns, which would break within a word
REPORT = "report.html"


def program(name: str = "geocorpus") -> str:
    """How to type one of our programs: its name if it is on PATH, otherwise its path from the working folder."""
    if shutil.which(name):
        return name
    return os.path.relpath(Path(sys.prefix) / "bin" / name)


@contextmanager
def earth_engine(settings: Settings) -> Iterator[EarthEngine]:
    """A client connected to the project's Earth Engine, to a URL, or to a sandbox that is started and ended here.

    Where the source is files, it is connected to nothing. Raises `Fatal` when the sandbox does not start or the
    service refuses the connection.
    """
    source = settings.source
    if settings.uses_files:
        yield unconnected(connection(settings, source.url))
        return
    if not settings.uses_sandbox:
        yield connect(connection(settings, source.url))
        return
    with sandbox_process.running(source) as url:
        yield connect(connection(settings, url))


def connection(settings: Settings, url: str | None) -> Connection:
    """How the settings say to reach Earth Engine; `url` None is the public service."""
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
    return catalog.modalities(_asked_for(settings), settings.corpus.modality_files)


def layers_of(settings: Settings, manifest: Manifest) -> list[Modality]:
    known = catalog.of_manifest(manifest, _asked_for(settings), settings.corpus.modality_files)
    settled = static_layer.with_files(known, settings.source.layers, settings.folder)
    known_here = settings.samples_places or Provenance.read(settings.folder) is not None
    return settled if known_here else [*file_source.layers(settings), *settled]


def _asked_for(settings: Settings) -> list[str] | None:
    """Names of the layers to pull, None for all: those that were imported are not for us to define.

    A corpus from files has others only where they are named, here or in `source.layers`.
    """
    names, brought = list(settings.corpus.modalities), _brought(settings.folder)
    if settings.uses_files:
        names = names or list(settings.source.layers)
    elif not names and not brought:
        return None
    elif not names:
        names = [layer.name for layer in catalog.modalities(files=settings.corpus.modality_files)]
    return [name for name in names if name not in brought]


def _brought(folder: Path) -> tuple[str, ...]:
    """The layers that were imported, also by a corpus that this one was put together from."""
    imported, composed = Imported.read(folder), Provenance.read(folder)
    return (*(imported.layers if imported else ()), *(composed.brought if composed else ()))


def check(settings: Settings, stage: str) -> None:
    """Raise `Fatal` for settings that some stage would refuse later, before any work is done and any file written."""
    (_refuse_unstored if stage in _READING else _refuse_unknown_layers)(settings)
    store_of(settings)
    run_name(settings)
    if not settings.uses_files:
        refuse_untold_levels(_rules(settings))
    if stage in _CHOOSING:
        growth.refuse_composed(settings.folder)
    if stage in (*_CHOOSING, "anchor", "export"):
        growth.refuse_without_settings(settings.folder)
    refuse = growth.refuse_no_growth if stage in _CHOOSING else growth.refuse_changes
    refuse(settings)


def _refuse_unstored(settings: Settings) -> None:
    """Raise `Fatal` for names of no layer. The store describes those it has, wherever they came from."""
    stored = Corpus.open(settings.folder).modalities if store_of(settings).exists else {}
    others = [name for name in settings.corpus.modalities if name not in stored]
    if stored and others:
        catalog.modalities(others, settings.corpus.modality_files)


def _refuse_unknown_layers(settings: Settings) -> None:
    chosen = static_layer.with_files(layers(settings), settings.source.layers, settings.folder)
    if settings.uses_files:
        file_source.refuse_unreachable(settings, chosen)


def needs_engine_to_sample(settings: Settings) -> bool:
    """Whether `sample` has to ask Earth Engine for its regions."""
    return not settings.uses_files and sampling_plan.needs_engine(settings) and not growth.next_step(settings).sampled


def sample(settings: Settings, engine: EarthEngine | None, progress: Progress) -> str:
    """Draw candidate locations per stratum: `allocation.json`, `regions.parquet`, `locations.parquet` (last).

    Where the chips of a corpus are chosen and more are asked for, those that are lacking: below `extensions/`. Raises
    `Fatal` when no regions or points are set, they cannot be read, or they have no room for the locations.
    """
    step = growth.next_step(settings)
    message = f"Candidates are in {step.folder / LOCATIONS}. Next: {program()} anchor {as_typed(settings.folder)}"
    if step.sampled:
        if not settings.samples_places:
            growth.say_no_new_files(step, progress)
        return message
    if not settings.samples_places:
        file_source.choose(settings, progress)
        return message
    sampling_plan.refuse_unusable_files(settings)
    settled = growth.settled(step, settings)
    progress.start("sample", max(0, settings.sampling.locations - len(settled)))
    regions = sampling_plan.regions(settings, engine, _region_cache(step, settings))
    drawn = own_columns.fitted(step, sampling_plan.sample(settings, regions, settled))
    growth.refuse_nothing(step, drawn)
    step.begin(settings)
    _write_sample(step.folder, drawn, regions)
    _say_sampled(drawn, progress)
    return f"{message}\nA picture of them is {step.folder / SAMPLE_PICTURE}."


def _region_cache(step: Step, settings: Settings) -> Path:
    """Where a table of Earth Engine is kept: another one has its own file."""
    first = Step(settings.folder, 0).settings
    same = first is None or first.sampling.regions == settings.sampling.regions
    return (settings.folder if same else step.folder) / REGION_CACHE


def _write_sample(folder: Path, drawn: Sample, regions: Regions | None) -> None:
    """Publish the sample, the locations last: they say that it is whole."""
    if regions is not None:
        write_regions(folder / REGIONS, regions)
    write_allocation(folder / ALLOCATION, drawn.allocation)
    write_sample(folder / SAMPLE, drawn)
    if drawn.dropped is not None:
        write_dropped(folder / DROPPED, drawn.dropped)
    _draw(folder, drawn, regions)
    write_location_table(folder / LOCATIONS, drawn.table)


def _draw(folder: Path, drawn: Sample, regions: Regions | None) -> None:
    from sampling.picture import write_picture  # here, or every command would load matplotlib

    write_picture(folder / SAMPLE_PICTURE, drawn, regions)


def _say_sampled(drawn: Sample, progress: Progress) -> None:
    for note in drawn.notes:
        progress.say(note)
    for reason, count in drawn.refused.items():
        progress.say(f"{count} candidates passed over, and replaced where there was room: each {reason}.")
    empty_strata, strata = len(drawn.allocation.empty_strata), len(drawn.allocation.quotas)
    if empty_strata:
        progress.say(f"{empty_strata} of {strata} regions get no place: too few locations or no room.")
    progress.say(drawn.split_shares())
    progress.note(candidates=len(drawn.table), strata=strata)
    progress.advance(drawn.allocation.total)


def anchor(settings: Settings, engine: EarthEngine, progress: Progress) -> str:
    """Pin every location to its scenes and grid, and freeze or extend the manifest (last).

    Raises `Fatal` when the tables of `sample` are absent or damaged, and the errors of Earth Engine.
    """
    step = growth.last_step(settings.folder)
    path = settings.folder / MANIFEST
    message = f"The manifest is frozen in {path}. Next: {program()} export {as_typed(settings.folder)}"
    if step.frozen:
        Manifest.read(path).remember(path)
        return message
    if not settings.samples_places:
        step.freeze(file_source.rows(settings, progress), settings.corpus.seed)
        return message
    locations = _candidates(step, settings)
    counts = read_allocation(step.folder / ALLOCATION).counts
    if settings.uses_files:
        anchored = gridding.grid(locations, counts, settings.corpus.size_px, settings.files.constant_time)
    else:
        anchored = pinned(settings, engine, locations, counts, step.folder / ANCHORS, progress)
    _write_rejected(step.folder, anchored)
    step.freeze(anchored.rows, settings.corpus.seed)
    _say_shortfalls(anchored, step.folder / REJECTED, progress)
    return message


def _rules(settings: Settings) -> AnchorRules:
    corpus, own_zone = settings.corpus, settings.sampling.strategy == sampling_plan.TILES
    return AnchorRules(**settings.anchor.model_dump(), size_px=corpus.size_px, seed=corpus.seed, own_zone=own_zone)


def pinned(
    settings: Settings, engine: EarthEngine, locations: Locations, counts: Mapping[str, int], answers: Path,
    progress: Progress,
) -> Anchored:  # fmt: skip
    rules = _rules(settings)
    with engine.counting(_usage(settings)):
        return anchoring.anchor(engine, locations, counts, rules, answers, progress)


def _candidates(step: Step, settings: Settings) -> Locations:
    """The sampled candidates. Splits are added if the table has none: a split depends on the location alone."""
    locations = Locations.read(step.folder / LOCATIONS)
    if locations.have_split:
        return locations
    return locations.with_split(sampling_plan.split_rule(settings).of(locations.lonlat))


def _say_shortfalls(anchored: Anchored, rejected: Path, progress: Progress) -> None:
    lacking = sum(anchored.shortfalls.values())
    if lacking:
        strata = ", ".join(f"{name} ({count})" for name, count in sorted(anchored.shortfalls.items())[:5])
        own = set(anchored.shortfalls) == {STRATUM}
        more = "anchor.date_window_days" if own else "sampling.overdraw"
        progress.say(
            f"{lacking} of the places asked for found no usable scene, in {strata}: {rejected} says why; "
            f"more anchor.years, anchor.max_cloud_percent or {more} may fill them."
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
    bound = layers_of(settings, manifest)
    growth.carry_spool(settings.folder / SPOOL, manifest)
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
    corpus = Corpus.open(settings.folder).ahead() if store.exists else None
    manifest = corpus.manifest if corpus else Manifest.read(settings.folder / MANIFEST)
    wanted = {modality.name: modality for modality in layers_of(settings, manifest)}
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
    _refuse_unfinished_import(corpus)
    if pending:
        _settle_files(corpus, [layer for layer in bound if any(layer.name in names for names in pending.values())])
        with _counting(settings, engine):
            if not settings.uses_files:
                work = _work(corpus.manifest, pending, wanted)
                preflight.before(engine, work, settings.folder, corpus.store, progress)
            with _pulling(settings, engine, corpus, bound, progress) as (pull, shards_at_once):
                pull_checked = partial(_pull_checked, engine, caller, pull)
                for _ in each_shard(corpus, list(wanted), pull_checked, progress, shards_at_once):
                    pass  # the reports are not needed: the ledger records the shards
    if not corpus.missing():
        shutil.rmtree(settings.folder / SPOOL, ignore_errors=True)
    return f"All pixels are in {corpus.store.url}. Next: {program()} finalize {as_typed(settings.folder)}"


def _refuse_unfinished_import(corpus: Corpus) -> None:
    """Raise `Fatal` where an imported layer has gaps: they are not for Earth Engine to fill."""
    imported = Imported.read(corpus.folder)
    if imported and corpus.missing(name for name in imported.layers if name in corpus.modalities):
        raise Fatal(f"the corpus in {corpus.folder} was imported; run `{imported.command(corpus.folder)}` to go on.")


def _settle_files(corpus: Corpus, layers: Sequence[Modality]) -> None:
    begun = [layer.name for layer in layers if corpus.ledger.done(layer.name)]
    static_layer.settle(layers, begun, corpus.folder)


def _counting(settings: Settings, engine: EarthEngine) -> AbstractContextManager[None]:
    return nullcontext() if settings.uses_files else engine.counting(_usage(settings))


def _usage(settings: Settings) -> Usage:
    return Usage(settings.folder / USAGE, settings.source.eecu_hours)


def _pull_checked(engine: EarthEngine, caller: Caller, pull: Pull, shard: Shard, names: Sequence[str]) -> ShardReport:
    engine.refuse_overspending()  # for a cluster, whose workers know neither the total nor of each other's full disks
    with engine.stopping():
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
    job = cluster.job_spec_of(engine.connection, settings.corpus, spool, settings.source.layers)
    with cluster.running(settings.cluster, engine, job, progress) as workers:
        yield workers.pull, settings.cluster.shards_at_once or workers.size


def finalize(settings: Settings, progress: Progress) -> str:
    """Publish the statistics, consolidate the metadata, write the report. Raises `Fatal` for unfinished shards."""
    corpus = Corpus.open(settings.folder)
    unfinished, shards = corpus.ahead().missing(), len(corpus.ahead().shards)
    if unfinished:
        raise Fatal(f"{len(unfinished)} of {shards} shards are not finished; run `geocorpus export` first.")
    progress.start("finalize", 2)
    corpus.finalize()
    progress.advance()
    layer_coverage = coverage(corpus)
    report = publish(corpus, layer_coverage)
    for flag in (flag for layer in layer_coverage for flag in layer.quality.flags()):
        progress.say(f"look at this: {flag}.")
    for empty in (layer for layer in layer_coverage if layer.missing.total() == layer.rows_done > 0):
        why = empty.missing.most_common(1)[0][0]
        progress.say(f"look at this: {empty.modality.name} has no data in any chip, mostly because: {why}.")
    progress.advance()
    return f"The report is {report}. Next: {program()} pretrain {as_typed(settings.folder)}"


def run_name(settings: Settings) -> str:
    """The folder of a training run below `runs/`: `pretrain.run`, or the names of the preset and the pretext.

    Raises `Fatal` for a name that is no single folder.
    """
    data = settings.pretrain
    chosen = [str(data[key]) for key in ("preset", "pretext") if key in data]
    name = str(data.get("run", "-".join(chosen) or "pretrain"))
    if Path(name).name != name or name in ("", ".", ".."):
        raise Fatal(f"setting pretrain.run = {name!r} is not allowed: give one name, of a folder below {RUNS}/.")
    return name


def pretrain(settings: Settings, progress: Progress) -> str:
    """Train on the corpus, in the folder `runs/<run>` of the corpus.

    Raises `Fatal` when PyTorch is not installed, a setting is wrong or the corpus cannot be trained on.
    """
    require("train", "training")
    from training.pretrain.train import pretrain as train

    for old in RENAMED.keys() & settings.pretrain.keys():
        progress.say(f"Setting pretrain.{old} is called pretrain.{RENAMED[old]} now; the old name goes on working.")
    refuse_read_only(settings.folder)
    config = PretrainConfig.from_dict(without_run(settings.pretrain))
    result = train(settings.folder, config, settings.folder / RUNS / run_name(settings), progress)
    falls = [
        f"    {name:<22}{result.first_losses[name]:>8.3f} to {last:.3f}"
        for name, last in result.last_losses.items()
        if name in result.first_losses
    ]
    words = loss_words(result.first_losses, result.last_losses, result.steps, result.losses_mean)
    below = [line for sentence in words for line in wrap(sentence, _WORDS_WIDTH, break_on_hyphens=False)]
    skipped = f" ({len(result.skipped)} of them skipped)" if result.skipped else ""
    where = result.weights if len(result.files) < 2 else f"each of {', '.join(map(str, result.files))}"
    done = f"{result.steps} steps{skipped}, encoder in {where}"
    return Closing.of(
        "\n".join([f"{done}; losses:", *falls, *(f"    {line}" for line in below)]),
        done=f"{done}.", steps=result.steps, skipped=len(result.skipped), weights=str(result.weights),
        files=[str(path) for path in result.files],
        first_losses=result.first_losses, last_losses=result.last_losses,
    )  # fmt: skip


def _last_pictures(settings: Settings) -> list[Path]:
    """The last picture of the run, if it drew any."""
    return sorted((settings.folder / RUNS / run_name(settings) / "pictures").glob("*.png"))[-1:]


def summary(settings: Settings, requests: int, trained: str) -> str:
    """The demo's closing lines: where the results are, and what to run next."""
    folder = settings.folder
    corpus = Corpus.open(folder)
    text = "\n".join(
        [
            "",
            "Look at these two first:",
            f"  report    {folder / REPORT}    open it in a browser",
            *(
                f"  pictures  {path}    what the encoder rebuilds of hidden patches"
                for path in _last_pictures(settings)
            ),
            "",
            f"A corpus of {len(corpus.manifest)} chips; this run made {requests} requests to Earth Engine:",
            f"  store     {corpus.store.url}    xarray.open_zarr reads it",
            f"  manifest  {folder / MANIFEST}    GeoPandas and DuckDB read it",
            f"  training  {trained}",
            "",
            "Next:",
            f"  {program()} view {as_typed(folder)}    a map of all places, and every layer of each, in the browser",
            f"  {program()} status {as_typed(folder)}",
            f"  {program('tensorboard')} --logdir {folder / RUNS}",
            f"  {program()} pretrain {as_typed(folder)} pretrain.preset=atto    the published encoder size",
            f"  {program()} build mmearth source.project=YOUR-PROJECT corpus.folder=mine sampling.locations=100",
        ]
    )
    facts = trained.facts if isinstance(trained, Closing) else {}
    return Closing.of(
        text, **facts, chips=len(corpus.manifest), requests=requests, report=str(folder / REPORT),
        store=corpus.store.url, manifest=str(folder / MANIFEST),
    )  # fmt: skip
