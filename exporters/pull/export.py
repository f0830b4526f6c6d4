"""The export: for each shard, pull the unfinished chips, store each of them in the spool, write each layer once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from exporters import threads
from exporters.earth_engine.batch_size import OneTooLarge
from exporters.earth_engine.client import EarthEngine
from exporters.pull.pull import Puller
from exporters.pull.turn_gate import Turn, TurnGate
from exporters.quality.inspection import inspect
from exporters.sources import Local, Pixels, Region
from pipeline.chip import Chip
from pipeline.corpus import Corpus, empty_block
from pipeline.dead_letters import FAILED, DeadLetter, DeadLetters
from pipeline.errors import Transient
from pipeline.modality import Modality
from pipeline.progress import Progress
from pipeline.shard import Shard
from pipeline.spool import ChipResult, Spool

_NOTHING = ChipResult({}, {})
# Chips in work beyond the requests in flight, as a share of these: meanwhile their graphs are built and their replies
# stored. A few at least, because chips do not take equally long.
_QUEUED_SHARE, _LEAST_QUEUED = 0.5, 4


class Incomplete(Transient):
    """The run has ended with unfinished shards; another run can go on with them."""


@dataclass(frozen=True)
class ShardReport:
    """The result of one shard: how many chips were pulled now and how many taken from the spool.

    `missing` has the reasons per layer and manifest row, `failed` the chips that were given up; a shard with failed
    chips is not written.
    """

    shard: Shard
    names: tuple[str, ...]
    pulled: int
    from_spool: int
    missing: Mapping[str, Mapping[int, str]]
    failed: tuple[DeadLetter, ...] = ()


@dataclass
class _Blocks:
    """A shard in memory.

    `values` has a block per layer, (rows, bands[, y, x]) in the stored dtype; `missing` why rows have no data.
    """

    corpus: Corpus
    shard: Shard
    layers: Sequence[Modality]
    values: dict[str, NDArray[Any]] = field(default_factory=dict)
    missing: dict[str, dict[int, str]] = field(default_factory=dict)
    compressed: dict[str, dict[int, bytes]] = field(default_factory=dict)
    spool_names: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        size_px = self.corpus.manifest.size_px
        self.values = {layer.name: empty_block(layer, len(self.shard), size_px) for layer in self.layers}
        self.missing = {layer.name: {} for layer in self.layers}
        self.compressed = {layer.name: {} for layer in self.layers}
        self.spool_names = {layer.name: f"{layer.name}@{layer.digest[:16]}" for layer in self.layers}

    def put(self, row: int, pulled: ChipResult) -> None:
        """Write a chip into the blocks; rows do not overlap, so many threads may do this at once."""
        for layer in self.layers:
            if layer.name in pulled.values:
                self.values[layer.name][row - self.shard.start] = pulled.values[layer.name]
                if layer.name in pulled.compressed:
                    self.compressed[layer.name][row] = pulled.compressed[layer.name]
            else:
                self.missing[layer.name][row] = pulled.missing[layer.name]

    def from_spool_names(self, spooled: ChipResult | None) -> ChipResult:
        """The layers of a spooled chip that have the present specification; none for None."""
        if spooled is None:
            return _NOTHING
        return spooled.renamed({spool_name: name for name, spool_name in self.spool_names.items()})

    def to_spool_names(self, pulled: ChipResult) -> ChipResult:
        """A chip under the names of the spool: they contain the digest of the specification."""
        return pulled.renamed(self.spool_names)

    def with_compressed(self, pulled: ChipResult) -> ChipResult:
        """A chip compressed as in the store: by the thread that pulled it, once for both spool and store."""
        codecs = {name: self.corpus.chip_codec(name) for name in pulled.values.keys() - pulled.compressed.keys()}
        compressed = {name: codec.compressed(pulled.values[name]) for name, codec in codecs.items() if codec}
        return ChipResult(pulled.values, pulled.missing, {**pulled.compressed, **compressed})


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
    blocks = _Blocks(corpus, shard, layers)
    tasks = _split_by_spool(puller, blocks, spool, progress)
    with gate.turn(len(tasks)) as turn:
        failed = tuple(_pull(puller, tasks, blocks, spool, progress, turn))
    DeadLetters(corpus.folder / FAILED).record(shard, failed)
    if not failed:
        _write(corpus, blocks, spool)
    names = tuple(layer.name for layer in layers)
    return ShardReport(shard, names, len(tasks) - len(failed), len(shard) - len(tasks), blocks.missing, failed)


def _write(corpus: Corpus, blocks: _Blocks, spool: Spool) -> None:
    """Write every layer of the shard; delete its spool once all layers of the corpus have this shard."""
    shard = blocks.shard
    result = inspect(corpus, shard, blocks.values, blocks.missing)
    for name, block in blocks.values.items():
        missing = dict(sorted(blocks.missing[name].items()))
        corpus.write(shard, name, block, missing, result[name], blocks.compressed[name])
    if all(corpus.ledger.path(name, shard.index).exists() for name in corpus.modalities):
        spool.clear(shard)


def _split_by_spool(puller: Puller, blocks: _Blocks, spool: Spool, progress: Progress) -> list[_Task]:
    """Put the chips that an earlier run finished into the blocks; returns the tasks of the others."""
    tasks = []
    by_kind = cache(partial(_by_kind, puller, blocks))
    for chip in blocks.corpus.manifest.chips(blocks.shard.start, blocks.shard.stop):
        spooled = blocks.from_spool_names(spool.get(blocks.shard, chip.row))
        pending = tuple(layer.name for layer in blocks.layers if not spooled.covers((layer.name,)))
        if pending:
            tasks.append(_Task(chip, spooled, by_kind(pending)))
        else:
            blocks.put(chip.row, spooled)
            progress.advance()
    return tasks


def _by_kind(puller: Puller, blocks: _Blocks, names: tuple[str, ...]) -> _LayersByKind:
    layers = [layer for layer in blocks.layers if layer.name in names]
    return _LayersByKind(*(tuple(puller.of(kind, layers)) for kind in (Pixels, Region, Local)))


def _pull(
    puller: Puller, tasks: Sequence[_Task], blocks: _Blocks, spool: Spool, progress: Progress, turn: Turn
) -> Iterator[DeadLetter]:
    """Pull every chip, write it to the spool and the blocks; yields the chips that were given up."""
    means, means_error = _regions(puller, tasks)

    def item(task: _Task) -> DeadLetter | None:
        turn.begun()
        try:
            pulled = blocks.with_compressed(_pull_chip(puller, task).join(means.get(task.chip.row, _NOTHING)))
        except (Transient, OneTooLarge) as error:
            puller.engine.breaker.failed(error)
            return _letter(task, task.pending.all, error)
        puller.engine.breaker.succeeded()
        if task.pending.pixels:
            spool.put(blocks.shard, task.chip.row, blocks.to_spool_names(pulled))
        if means_error and task.pending.regions:
            return _letter(task, task.pending.regions, means_error)
        blocks.put(task.chip.row, pulled)
        progress.advance()
        return None

    at_once = puller.engine.connection.concurrency
    for letter in threads.each(item, tasks, at_once + max(_LEAST_QUEUED, math.ceil(_QUEUED_SHARE * at_once))):
        puller.engine.tell(progress)
        puller.engine.refuse_overspending()
        if letter:
            yield letter


def _letter(task: _Task, layers: Sequence[Modality], error: Exception) -> DeadLetter:
    location = task.chip.location
    names = tuple(layer.name for layer in layers)
    return DeadLetter(task.chip.row, location.id, location.lonlat, names, type(error).__name__, str(error))


def _regions(puller: Puller, tasks: Sequence[_Task]) -> tuple[dict[int, ChipResult], Exception | None]:
    """Regional means by manifest row; or the error with which their requests failed."""
    with_means = [task for task in tasks if task.pending.regions]
    layers = {layer.name: layer for task in with_means for layer in task.pending.regions}
    try:
        return puller.regions([task.chip for task in with_means], list(layers.values())), None
    except (Transient, OneTooLarge) as error:
        return {}, error


def _pull_chip(puller: Puller, task: _Task) -> ChipResult:
    pixels = puller.pixels(task.chip, task.pending.pixels)
    return task.spooled.join(pixels).join(puller.local(task.chip, task.pending.local))
