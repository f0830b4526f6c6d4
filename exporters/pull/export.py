"""The export: for each shard, pull the unfinished chips, store each of them in the spool, write each layer once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from exporters import threads
from exporters.earth_engine.batch_size import OneRefused, OneTooLarge
from exporters.earth_engine.client import EarthEngine
from exporters.pull.blocks import Blocks
from exporters.pull.outgrown import Outgrown
from exporters.pull.pull import Puller
from exporters.pull.regional_means import RegionalMeans
from exporters.pull.turn_gate import Turn, TurnGate
from exporters.quality.inspection import inspect
from exporters.sources import Local, Pixels, Region
from pipeline.chip import Chip
from pipeline.corpus import Corpus
from pipeline.dead_letters import FAILED, DeadLetter, DeadLetters
from pipeline.errors import Transient
from pipeline.modality import Modality
from pipeline.progress import Progress
from pipeline.shard import Shard
from pipeline.spool import ChipResult, Spool

# Chips in work beyond the requests in flight, as a share of these: meanwhile their graphs are built and their replies
# stored. A few at least, because chips do not take equally long.
_QUEUED_SHARE, _LEAST_QUEUED = 0.5, 4


class Incomplete(Transient):
    """The run has ended with unfinished shards; another run can go on with them."""


@dataclass(frozen=True)
class ShardReport:
    """The result of one shard: how many chips were pulled now and how many taken from the spool.

    `missing` has the reasons per layer and manifest row, `failed` the chips that were given up; layers that one of them
    lacks are not written.
    """

    shard: Shard
    names: tuple[str, ...]
    pulled: int
    from_spool: int
    missing: Mapping[str, Mapping[int, str]]
    failed: tuple[DeadLetter, ...] = ()


@dataclass(frozen=True)
class _LayersByKind:
    """Layers by the kind of their source; computed once for all chips with the same pending layers."""

    pixels: tuple[Modality, ...]
    regions: tuple[Modality, ...]
    local: tuple[Modality, ...]

    @property
    def all(self) -> tuple[Modality, ...]:
        """The layers of all kinds."""
        return self.pixels + self.regions + self.local


@dataclass(frozen=True)
class _Task:
    """An unfinished chip: what the spool has of it, and the layers that are pending."""

    chip: Chip
    spooled: ChipResult
    pending: _LayersByKind


# Pulls and writes the named layers of a shard, in this or another process.
Pull = Callable[[Shard, Sequence[str]], ShardReport]


def export(
    engine: EarthEngine,
    corpus: Corpus,
    layers: Sequence[Modality],
    spool_folder: Path,
    progress: Progress,
    shards_at_once: int = 1,
) -> list[ShardReport]:
    """Pull and write, in this process, all shards of `layers` that are not in the ledger.

    `layers` are those of `exporters.catalog.bound`, with which the corpus was created. Each shard in work takes its
    uncompressed size in memory. Raises as `each_shard`.
    """
    pull = puller(engine, corpus, layers, spool_folder, progress)
    reports = each_shard(corpus, [layer.name for layer in layers], pull, progress, shards_at_once)
    return sorted(reports, key=lambda report: report.shard)


def puller(
    engine: EarthEngine,
    corpus: Corpus,
    layers: Sequence[Modality],
    spool_folder: Path,
    progress: Progress,
    gate: TurnGate | None = None,
) -> Pull:
    """A function that pulls a shard in this process; `gate` is shared by all such functions of the process."""
    by_name, spool, turns = {layer.name: layer for layer in layers}, Spool(spool_folder), gate or TurnGate()
    chips = Puller(engine)

    def pull(shard: Shard, names: Sequence[str]) -> ShardReport:
        engine.tell(progress)  # where requests per chip are counted from: before the first one
        with engine.stopping():
            return export_shard(chips, corpus, shard, [by_name[name] for name in names], spool, progress, turns)

    return pull


def each_shard(
    corpus: Corpus, names: Sequence[str], pull: Pull, progress: Progress, shards_at_once: int
) -> Iterator[ShardReport]:
    """Pull the unfinished shards of the layers `names`, `shards_at_once` in parallel; yields reports as shards end.

    A chip that fails does not stop the others: at the end `Incomplete` is raised, `failed/` of the corpus lists the
    chips with the reasons, and finished chips stay in the spool. Raises `Transient` when many chips in a row fail, and
    `Fatal` when an error concerns every chip.
    """
    work = corpus.missing(names)
    total = sum(len(shard) for shard in corpus.shards)
    progress.start("export", total, total - sum(len(shard) for shard in work))
    errors: Counter[str] = Counter()
    for report in threads.each(lambda item: pull(*item), list(work.items()), shards_at_once):
        errors.update(letter.error for letter in report.failed)
        if report.failed:
            progress.note(given_up=", ".join(f"{count} {error}" for error, count in errors.most_common()))
        yield report
    refuse_incomplete(corpus, names)


def refuse_incomplete(corpus: Corpus, names: Sequence[str]) -> None:
    """Raise `Incomplete` when a shard of these layers is unfinished."""
    letters = DeadLetters(corpus.folder / FAILED).read()
    unfinished = corpus.missing(names)
    if not unfinished:
        return
    if not letters:
        raise Incomplete(f"{len(unfinished)} shards are not finished; run the same command again to go on.")
    others = f", nor could {len(letters) - 1} others" if len(letters) > 1 else ""
    raise Incomplete(
        f"location {letters[0].location} could not be pulled ({letters[0].reason.rstrip('.')}){others}: "
        f"{corpus.folder / FAILED} lists all; run the same command again, or `geocorpus retry`, to take them up."
    )


def export_shard(
    puller: Puller,
    corpus: Corpus,
    shard: Shard,
    layers: Sequence[Modality],
    spool: Spool,
    progress: Progress,
    gate: TurnGate,
) -> ShardReport:
    """Pull and write `layers` of one shard; it starts to pull when `gate` lets it.

    Chips are stored under the manifest's digest in `spool`: a row number means nothing in another manifest.
    Raises `Transient` when many chips in a row fail, and `Fatal` when an error concerns every chip. A single chip that
    fails is in the report.
    """
    spool = Spool(spool.folder / corpus.manifest.digest[:16])
    blocks = Blocks(corpus, shard, layers)
    tasks = _split_by_spool(puller, blocks, spool, progress)
    with gate.turn(len(tasks)) as turn:
        failed = tuple(_pull(puller, tasks, blocks, spool, progress, turn))
    DeadLetters(corpus.folder / FAILED).record(shard, failed)
    _write(corpus, blocks, spool, {name for letter in failed for name in letter.layers})
    names = tuple(layer.name for layer in layers)
    return ShardReport(shard, names, len(tasks) - len(failed), len(shard) - len(tasks), blocks.missing, failed)


def _write(corpus: Corpus, blocks: Blocks, spool: Spool, lacking: Set[str]) -> None:
    """Write every layer of the shard but those that are lacking for a chip; delete its spool once all layers of the
    corpus have this shard.
    """
    shard = blocks.shard
    values = {name: block for name, block in blocks.values.items() if name not in lacking}
    if not values:
        return
    result = inspect(corpus, shard, values, {name: blocks.missing[name] for name in values})
    for name, block in values.items():
        missing = dict(sorted(blocks.missing[name].items()))
        corpus.write(shard, name, block, missing, result[name], blocks.compressed[name])
    if not corpus.lacking(shard, corpus.modalities):
        spool.clear(shard)


def _split_by_spool(puller: Puller, blocks: Blocks, spool: Spool, progress: Progress) -> list[_Task]:
    """Put the chips that an earlier run or a shorter corpus has finished into the blocks; returns the other tasks."""
    tasks = []
    by_kind = cache(partial(_by_kind, puller, blocks))
    outgrown = Outgrown.of(blocks.corpus, blocks.shard, blocks.values)
    for chip in blocks.corpus.manifest.chips(blocks.shard.start, blocks.shard.stop):
        spooled = blocks.from_spool_names(spool.get(blocks.shard, chip.row)).join(outgrown.chip(chip.row))
        pending = tuple(layer.name for layer in blocks.layers if not spooled.covers((layer.name,)))
        if pending:
            tasks.append(_Task(chip, spooled, by_kind(pending)))
        else:
            blocks.put(chip.row, spooled)
            progress.advance()
    return tasks


def _by_kind(puller: Puller, blocks: Blocks, names: tuple[str, ...]) -> _LayersByKind:
    layers = [layer for layer in blocks.layers if layer.name in names]
    return _LayersByKind(*(tuple(puller.of(kind, layers)) for kind in (Pixels, Region, Local)))


def _pull(
    puller: Puller, tasks: Sequence[_Task], blocks: Blocks, spool: Spool, progress: Progress, turn: Turn
) -> Iterator[DeadLetter]:
    """Pull every chip, write it to the spool and the blocks; yields the chips that were given up."""
    work = _ChipWork(puller, blocks, spool, progress, _regional_means(puller, tasks))

    def item(task: _Task) -> DeadLetter | None:
        turn.begun()
        with puller.engine.stopping():
            return work.pull(task)

    for letter in threads.each(item, tasks, _workers(puller, tasks)):
        puller.engine.tell(progress)
        puller.engine.refuse_overspending()
        if letter:
            yield letter


@dataclass(frozen=True)
class _ChipWork:
    """Pulls the chips of a shard into the spool and the blocks. Safe for many threads."""

    puller: Puller
    blocks: Blocks
    spool: Spool
    progress: Progress
    means: RegionalMeans

    def pull(self, task: _Task) -> DeadLetter | None:
        """Pull one chip; why it was given up, or None.

        Raises `Transient` when many chips in a row fail, and `Fatal` when an error concerns every chip.
        """
        self.means.begin(task.chip.row)
        try:
            pulled = _pull_chip(self.puller, task)
        except (Transient, OneTooLarge) as error:
            self.puller.engine.breaker.failed(error)
            self.blocks.put(task.chip.row, self.blocks.with_compressed(task.spooled))
            return _letter(task, task.pending.all, error)
        mean = self.means.of(task.chip.row)
        self._keep(task, pulled.join(mean) if isinstance(mean, ChipResult) else pulled)
        return self._counted(task, mean)

    def _keep(self, task: _Task, pulled: ChipResult) -> None:
        """Into the blocks, and into the spool what would take a request of its own to have again."""
        pulled = self.blocks.with_compressed(pulled)
        if task.pending.pixels:
            self.spool.put(self.blocks.shard, task.chip.row, self.blocks.to_spool_names(pulled))
        self.blocks.put(task.chip.row, pulled)

    def _counted(self, task: _Task, mean: ChipResult | Exception | None) -> DeadLetter | None:
        """Count a chip whose pixels have come; why it lacks its means, or None."""
        if isinstance(mean, OneRefused):
            self.puller.engine.breaker.failed(mean)
        else:
            self.puller.engine.breaker.succeeded()
        if isinstance(mean, Exception):
            return _letter(task, task.pending.regions, mean)
        self.progress.advance()
        return None


def _regional_means(puller: Puller, tasks: Sequence[_Task]) -> RegionalMeans:
    with_means = [task for task in tasks if task.pending.regions]
    layers = {layer.name: layer for task in with_means for layer in task.pending.regions}
    return RegionalMeans(puller, [task.chip for task in with_means], list(layers.values()))


def _workers(puller: Puller, tasks: Sequence[_Task]) -> int:
    """How many chips are in work at a time; where nothing is waited for, more threads than cores hinder each other."""
    at_once = puller.engine.connection.concurrency
    workers = at_once + max(_LEAST_QUEUED, math.ceil(_QUEUED_SHARE * at_once))
    if any(puller.waits(task.chip, task.pending.all) for task in tasks):
        return workers
    return min(workers, threads.cores())


def _letter(task: _Task, layers: Sequence[Modality], error: Exception) -> DeadLetter:
    location = task.chip.location
    names = tuple(layer.name for layer in layers)
    return DeadLetter(task.chip.row, location.id, location.lonlat, names, type(error).__name__, str(error))


def _pull_chip(puller: Puller, task: _Task) -> ChipResult:
    pixels = puller.pixels(task.chip, task.pending.pixels)
    return task.spooled.join(pixels).join(puller.local(task.chip, task.pending.local))
