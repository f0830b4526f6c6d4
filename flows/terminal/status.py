"""The state of a corpus, read from its files: stages, the active run, shards per modality, failures and quality."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from pyarrow import parquet
from rich.console import Console
from rich.table import Table

from exporters.quality.quality import Quality
from exporters.quality.scene_coverage import SceneCoverage
from flows import growth, stages
from flows.progress.figures import figures_text
from flows.progress.progress_file import Run, derived
from flows.settings import as_typed
from pipeline import durable
from pipeline.corpus import Corpus
from pipeline.corpus_folder import LOCATIONS, MANIFEST, STATISTICS, has_finished, no_corpus, place_of
from pipeline.dead_letters import FAILED, DeadLetters
from pipeline.errors import Fatal
from pipeline.holder import Holder
from pipeline.imported import Imported
from pipeline.lock import SILENCE_S, holder_of
from pipeline.manifest import Manifest
from pipeline.reasons import kind_of
from pipeline.spool import SUFFIX


@dataclass(frozen=True)
class LayerStatus:
    """One modality: finished shards, chips without any data by reason, and what arrived of scenes by their role."""

    shards_done: int
    missing: dict[str, int]
    scenes: dict[str, SceneCoverage]


@dataclass(frozen=True)
class Status:
    """What the folder holds. Before the stage that fills them, counts are 0 and maps are empty.

    `failed` counts the locations that the last export gave up, by reason. `flags` are sentences about the quality of
    the data. `run` is the run that works on the corpus, or one that was killed; None when there is neither. `holder`
    is the process that the lock names, also if it was killed. `growing` is the stage that a corpus needs to which more
    chips are added. `imported` is what the corpus was imported from.
    """

    folder: str
    candidates: int = 0
    chips: int = 0
    shards: int = 0
    spooled_chips: int = 0
    finalized: bool = False
    layers: dict[str, LayerStatus] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    run: Run | None = None
    holder: Holder | None = None
    growing: str | None = None
    imported: Imported | None = None

    @property
    def next_step(self) -> str:
        """The stage to run next."""
        if self.growing:
            return self.growing
        if not self.chips:
            return "anchor" if self.candidates else "sample"
        if not self.layers or any(layer.shards_done < self.shards for layer in self.layers.values()):
            return "import" if self.imported else "export"
        return "pretrain" if self.finalized else "finalize"


def read_status(folder: Path) -> Status:
    """The status of the corpus in `folder`.

    Raises `Fatal` when not even `sample` has been run there, and when the store is lost.
    """
    if not (folder / LOCATIONS).exists() and not (folder / MANIFEST).exists():
        raise no_corpus(folder)
    steps = [*growth.last_step(folder).before(), growth.last_step(folder)]
    candidates = sum(_candidates(step.folder / LOCATIONS) for step in steps)
    begun = Status(
        str(folder), candidates, run=Run.of(folder), holder=holder_of(folder), growing=_growing(folder, steps[-1]),
        imported=Imported.read(folder),
    )  # fmt: skip
    if place_of(folder).exists:
        return _of_store(begun, Corpus.open(folder))
    if not (folder / MANIFEST).exists():
        return begun
    if has_finished(folder):
        raise no_corpus(folder)
    return replace(begun, chips=len(Manifest.read(folder / MANIFEST)))


def _growing(folder: Path, step: growth.Step) -> str | None:
    """The stage that an extension has come to; None where there is none, or it is laid out."""
    if not step.number:
        return None
    if not step.frozen:
        return "anchor" if step.sampled else "sample"
    return "export" if place_of(folder).exists and Corpus.open(folder).behind else None


def _candidates(path: Path) -> int:
    """Rows of the table of locations, from its footer: there may be millions."""
    try:
        return int(parquet.read_metadata(path).num_rows) if path.exists() else 0
    except (OSError, ValueError) as error:
        raise Fatal(f"{path} cannot be read ({error}); delete it and run `geocorpus sample`.") from error


def _of_store(begun: Status, corpus: Corpus) -> Status:
    qualities = {name: Quality(modality) for name, modality in sorted(corpus.modalities.items())}
    layers = {name: _layer(corpus, quality) for name, quality in qualities.items()}
    failed = Counter(kind_of(letter.reason) for letter in DeadLetters(corpus.folder / FAILED).read())
    return replace(
        begun,
        chips=len(corpus.manifest),
        shards=len(corpus.shards),
        spooled_chips=sum(1 for _ in (corpus.folder / stages.SPOOL).rglob(f"[0-9]*{SUFFIX}")),
        finalized=_finalized(corpus.folder, corpus),
        layers=layers,
        failed=dict(failed.most_common()),
        flags=tuple(flag for quality in qualities.values() for flag in quality.flags()),
    )


def _finalized(folder: Path, corpus: Corpus) -> bool:
    """Whether the published statistics cover every modality that the store has."""
    published = folder / STATISTICS
    return published.exists() and set(corpus.modalities) <= set(
        durable.read_object(published, "run `geocorpus finalize` again")
    )


def _layer(corpus: Corpus, quality: Quality) -> LayerStatus:
    """One pass over the ledger entries of a layer; it also adds their figures to `quality`."""
    reasons: Counter[str] = Counter()
    done = 0
    for entry in corpus.findings(quality.modality.name):
        done += 1
        reasons.update(map(kind_of, entry.missing.values()))
        quality.add(entry.quality)
    return LayerStatus(done, dict(reasons.most_common()), quality.scenes)


def show(status: Status, as_json: bool) -> None:
    """Print as a table, or as one JSON object."""
    if as_json:
        running = {"running": status.run is not None and status.run.is_live}
        print(json.dumps(asdict(status) | running | {"next": status.next_step}))
        return
    console = Console()
    console.print(f"[bold]{status.folder}[/]: {status.candidates:,} candidates, {status.chips:,} chips, "
                  f"{status.shards:,} shards, {status.spooled_chips:,} chips waiting in the spool")  # fmt: skip
    if status.layers:
        console.print(_table(status))
    for line in _lines(status):
        console.print(line, highlight=False)
    if status.run and status.run.is_live:
        return
    console.print(f"next: [bold]{_next_command(status)}[/]")


def _next_command(status: Status) -> str:
    folder = Path(status.folder)
    if status.next_step == "import" and status.imported:
        return status.imported.command(folder)
    return f"{stages.program()} {status.next_step} {as_typed(folder)}"


def _table(status: Status) -> Table:
    table = Table("modality", "shards done", "chips without data", "reasons", box=None, pad_edge=False)
    for name, layer in status.layers.items():
        reasons = "; ".join(f"{count} x {reason}" for reason, count in layer.missing.items())
        table.add_row(name, f"{layer.shards_done}/{status.shards}", str(sum(layer.missing.values())), reasons)
    return table


def _lines(status: Status) -> Iterator[str]:
    """The lines below the table."""
    for name, layer in status.layers.items():
        yield from (f"{name}, {role}: {covered}" for role, covered in layer.scenes.items())
    if status.failed:
        reasons = "; ".join(f"{count} x {reason}" for reason, count in status.failed.items())
        yield f"{sum(status.failed.values()):,} locations were given up, `geocorpus retry` takes them up: {reasons}"
    yield from (f"look at this: {flag}" for flag in status.flags)
    if status.run:
        yield _about(status.run)
    if status.holder:
        yield _about_lock(status.holder)


def _about_lock(holder: Holder) -> str:
    if not holder.is_here:
        return (
            f"held by {holder}, another host: the next command waits up to {SILENCE_S:.0f} s for a sign of life of it"
        )
    return f"held by {holder}" + ("" if holder.may_live else ", which is gone; the next command takes over")


def _about(run: Run) -> str:
    snapshot = run.snapshot
    where = f"{snapshot.stage} {snapshot.done:,}/{snapshot.total:,}"
    if not run.is_live:
        return f"{where} by {run.holder}, which is gone; the next command goes on from what is done"
    return f"{where} now, by {run.holder}  {figures_text(derived(snapshot) | snapshot.figures)}"
