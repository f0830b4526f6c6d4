"""Filling the store: for each shard, pull what is missing, keep every finished chip, write each layer once."""

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
# Chips in work for each request in flight: those of others are made and their answers kept meanwhile. A few at least,
# for chips do not come evenly.
_AHEAD, _LEAST_AHEAD = 0.5, 4


class Incomplete(Transient):
    """The run did what it could, and something is left for another one."""


@dataclass(frozen=True)
class ShardReport:
    """What became of one shard: chips pulled now and taken from the spool, reasons per layer and manifest row, and
    what was given up. A shard with anything given up is not written.
    """

    shard: Shard
    names: tuple[str, ...]
    pulled: int
    from_spool: int
    missing: Mapping[str, Mapping[int, str]]
    failed: tuple[DeadLetter, ...] = ()


@dataclass
class _Blocks:
    """A shard in memory: one block per layer, and why rows have none."""

    corpus: Corpus
    shard: Shard
    layers: Sequence[Modality]
    values: dict[str, NDArray[Any]] = field(default_factory=dict)
    missing: dict[str, dict[int, str]] = field(default_factory=dict)
    compressed: dict[str, dict[int, bytes]] = field(default_factory=dict)
    kept_names: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        size_px = self.corpus.manifest.size_px
        self.values = {layer.name: empty_block(layer, len(self.shard), size_px) for layer in self.layers}
        self.missing = {layer.name: {} for layer in self.layers}
        self.compressed = {layer.name: {} for layer in self.layers}
        self.kept_names = {layer.name: f"{layer.name}@{layer.digest[:16]}" for layer in self.layers}

    def place(self, row: int, pulled: ChipResult) -> None:
        """Put a chip where it belongs; rows do not overlap, so threads may do this at once."""
        for layer in self.layers:
            if layer.name in pulled.values:
                self.values[layer.name][row - self.shard.start] = pulled.values[layer.name]
                if layer.name in pulled.compressed:
                    self.compressed[layer.name][row] = pulled.compressed[layer.name]
            else:
                self.missing[layer.name][row] = pulled.missing[layer.name]

    def usable(self, kept: ChipResult | None) -> ChipResult:
        """What a kept chip holds of these layers, as they are specified now."""
        if kept is None:
            return _NOTHING
        return kept.renamed({kept_name: name for name, kept_name in self.kept_names.items()})

    def to_keep(self, pulled: ChipResult) -> ChipResult:
        """A chip under names that tell specifications apart, for the spool."""
        return pulled.renamed(self.kept_names)

    def ready(self, pulled: ChipResult) -> ChipResult:
        """A chip that is compressed as the store keeps it: by the thread that pulled it, once for spool and store."""
        codecs = {name: self.corpus.chip_codec(name) for name in pulled.values.keys() - pulled.compressed.keys()}
        compressed = {name: codec.compressed(pulled.values[name]) for name, codec in codecs.items() if codec}
        return ChipResult(pulled.values, pulled.missing, {**pulled.compressed, **compressed})


@dataclass(frozen=True)
class _ByKind:
    """Layers apart by where their values come from; worked out once for all chips that lack the same ones."""

    pixels: tuple[Modality, ...]
    regions: tuple[Modality, ...]
    local: tuple[Modality, ...]

    @property
    def all(self) -> tuple[Modality, ...]:
        """Whatever their kind."""
        return self.pixels + self.regions + self.local


@dataclass(frozen=True)
class _Task:
    """A chip that is not finished: what the spool holds of it, and the layers that it lacks."""

    chip: Chip
    kept: ChipResult
    lacking: _ByKind


Pull = Callable[[Shard, Sequence[str]], ShardReport]  # finishes the named layers of a shard, here or elsewhere


def export(
    engine: EarthEngine,
    corpus: Corpus,
    layers: Sequence[Modality],
    spool_folder: Path,
    progress: Progress,
    shards_at_once: int = 1,
) -> list[ShardReport]:
    """Pull and write, in this process, everything that the ledger lacks of `layers`.

    `layers` are as `exporters.catalog.bound` gives them and as the corpus was created with. Each shard in work
    takes its size in memory. Raises as `each_shard`.
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
    """What pulls a shard in this process; `gate` is that of the process, where there are several of these in it."""
    by_name, spool, turns = {layer.name: layer for layer in layers}, Spool(spool_folder), gate or TurnGate()
    chips = Puller(engine)

    def pull(shard: Shard, names: Sequence[str]) -> ShardReport:
        return export_shard(chips, corpus, shard, [by_name[name] for name in names], spool, progress, turns)

    return pull


def each_shard(
    corpus: Corpus, names: Sequence[str], pull: Pull, progress: Progress, shards_at_once: int
) -> Iterator[ShardReport]:
    """Pull what the ledger lacks of the layers `names`, so many shards at once; reports as they come, none is held.

    A chip that fails for good does not stop the others: at the end `Incomplete` is raised, `failed/` of the corpus
    says what and why, and finished chips stay in the spool.
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
    """Raise `Incomplete` while anything of these layers is neither in the store nor has a reason."""
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
    """Pull and write `layers` of one shard, the first of it when its turn in `gate` has come.

    Chips are kept below the manifest's digest in `spool`: a row number means nothing in another manifest.
    Raises `Transient` when nothing comes any more, and `Fatal`; a chip that fails alone is in the report.
    """
    spool = Spool(spool.folder / corpus.manifest.digest[:16])
    blocks = _Blocks(corpus, shard, layers)
    tasks = _take_from_spool(puller, blocks, spool, progress)
    with gate.turn(len(tasks)) as turn:
        failed = tuple(_pull(puller, tasks, blocks, spool, progress, turn))
    DeadLetters(corpus.folder / FAILED).record(shard, failed)
    if not failed:
        _write(corpus, blocks, spool)
    names = tuple(layer.name for layer in layers)
    return ShardReport(shard, names, len(tasks) - len(failed), len(shard) - len(tasks), blocks.missing, failed)


def _write(corpus: Corpus, blocks: _Blocks, spool: Spool) -> None:
    """Write every layer of the shard; the spool may go once nothing else in the store waits for its chips."""
    shard = blocks.shard
    result = inspect(corpus, shard, blocks.values, blocks.missing)
    for name, block in blocks.values.items():
        missing = dict(sorted(blocks.missing[name].items()))
        corpus.write(shard, name, block, missing, result[name], blocks.compressed[name])
    if all(corpus.ledger.path(name, shard.index).exists() for name in corpus.modalities):
        spool.clear(shard)


def _take_from_spool(puller: Puller, blocks: _Blocks, spool: Spool, progress: Progress) -> list[_Task]:
    """Place the chips that an earlier run finished; what the others lack is returned."""
    tasks = []
    by_kind = cache(partial(_by_kind, puller, blocks))
    for chip in blocks.corpus.manifest.chips(blocks.shard.start, blocks.shard.stop):
        kept = blocks.usable(spool.get(blocks.shard, chip.row))
        lacking = tuple(layer.name for layer in blocks.layers if not kept.covers((layer.name,)))
        if lacking:
            tasks.append(_Task(chip, kept, by_kind(lacking)))
        else:
            blocks.place(chip.row, kept)
            progress.advance()
    return tasks


def _by_kind(puller: Puller, blocks: _Blocks, names: tuple[str, ...]) -> _ByKind:
    layers = [layer for layer in blocks.layers if layer.name in names]
    return _ByKind(*(tuple(puller.of(kind, layers)) for kind in (Pixels, Region, Local)))


def _pull(
    puller: Puller, tasks: Sequence[_Task], blocks: _Blocks, spool: Spool, progress: Progress, turn: Turn
) -> Iterator[DeadLetter]:
    """Pull every chip, keep and place it; what was given up is yielded."""
    means, broken = _regions(puller, tasks)

    def item(task: _Task) -> DeadLetter | None:
        turn.begun()
        try:
            pulled = blocks.ready(_one_chip(puller, task).join(means.get(task.chip.row, _NOTHING)))
        except (Transient, OneTooLarge) as error:
            puller.engine.breaker.failed(error)
            return _letter(task, task.lacking.all, error)
        puller.engine.breaker.came()
        if task.lacking.pixels:
            spool.put(blocks.shard, task.chip.row, blocks.to_keep(pulled))
        if broken and task.lacking.regions:
            return _letter(task, task.lacking.regions, broken)
        blocks.place(task.chip.row, pulled)
        progress.advance()
        return None

    at_once = puller.engine.connection.concurrency
    for letter in threads.each(item, tasks, at_once + max(_LEAST_AHEAD, math.ceil(_AHEAD * at_once))):
        puller.engine.tell(progress)
        puller.engine.refuse_overspending()
        if letter:
            yield letter


def _letter(task: _Task, layers: Sequence[Modality], error: Exception) -> DeadLetter:
    location = task.chip.location
    names = tuple(layer.name for layer in layers)
    return DeadLetter(task.chip.row, location.id, location.lonlat, names, type(error).__name__, str(error))


def _regions(puller: Puller, tasks: Sequence[_Task]) -> tuple[dict[int, ChipResult], Exception | None]:
    """Regional means by row; or why there are none now."""
    wanting = [task for task in tasks if task.lacking.regions]
    layers = {layer.name: layer for task in wanting for layer in task.lacking.regions}
    try:
        return puller.regions([task.chip for task in wanting], list(layers.values())), None
    except (Transient, OneTooLarge) as error:
        return {}, error


def _one_chip(puller: Puller, task: _Task) -> ChipResult:
    pixels = puller.pixels(task.chip, task.lacking.pixels)
    return task.kept.join(pixels).join(puller.local(task.chip, task.lacking.local))
