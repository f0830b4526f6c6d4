"""Filling the store: for each shard, pull what is missing, keep every finished chip, write each layer once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from exporters.client import EarthEngine
from exporters.pull import Puller, local
from exporters.sources import Local, Pixels, Region, source_of
from pipeline.chip import Chip
from pipeline.corpus import Corpus, empty_block
from pipeline.modality import Modality
from pipeline.progress import Progress
from pipeline.shard import Shard
from pipeline.spool import Pulled, Spool


@dataclass(frozen=True)
class ShardReport:
    """What became of one shard: chips pulled now and taken from the spool, and reasons per layer and manifest row."""

    shard: Shard
    names: tuple[str, ...]
    pulled: int
    from_spool: int
    missing: Mapping[str, Mapping[int, str]]


@dataclass
class _Blocks:
    """A shard in memory: one block per layer, and why rows have none."""

    shard: Shard
    layers: Sequence[Modality]
    size_px: int
    values: dict[str, NDArray[Any]] = field(default_factory=dict)
    missing: dict[str, dict[int, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.values = {layer.name: empty_block(layer, len(self.shard), self.size_px) for layer in self.layers}
        self.missing = {layer.name: {} for layer in self.layers}

    def place(self, row: int, pulled: Pulled) -> None:
        """Put a chip where it belongs; rows do not overlap, so threads may do this at once."""
        for layer in self.layers:
            if layer.name in pulled.values:
                self.values[layer.name][row - self.shard.start] = pulled.values[layer.name]
            else:
                self.missing[layer.name][row] = pulled.missing[layer.name]

    def fits(self, pulled: Pulled | None) -> bool:
        """Whether a kept chip answers for every layer, in the shape and dtype that the store has now."""
        if pulled is None or not pulled.covers(tuple(layer.name for layer in self.layers)):
            return False
        kept = {name: value for name, value in pulled.values.items() if name in self.values}
        return all(
            value.shape == self.values[name].shape[1:] and value.dtype == self.values[name].dtype
            for name, value in kept.items()
        )


def export(
    engine: EarthEngine,
    corpus: Corpus,
    layers: Sequence[Modality],
    spool_folder: Path,
    progress: Progress,
    shards_at_once: int = 1,
) -> list[ShardReport]:
    """Pull and write everything that the ledger lacks of `layers`; does nothing where nothing is missing.

    `layers` are as `exporters.catalog.bound` gives them and as the corpus was created with. Each shard in work
    takes its size in memory. Raises what the first failing chip raised; finished chips stay in the spool.
    """
    by_name = {layer.name: layer for layer in layers}
    work = corpus.missing(list(by_name))
    total = sum(len(shard) for shard in corpus.shards)
    progress.start("export", total, total - sum(len(shard) for shard in work))
    spool = Spool(spool_folder)

    def one(shard: Shard) -> ShardReport:
        return export_shard(engine, corpus, shard, [by_name[name] for name in work[shard]], spool, progress)

    return _all(one, list(work), shards_at_once)


def export_shard(
    engine: EarthEngine,
    corpus: Corpus,
    shard: Shard,
    layers: Sequence[Modality],
    spool: Spool,
    progress: Progress,
) -> ShardReport:
    """Pull and write `layers` of one shard. For schedulers that run shards themselves; `export` runs them all."""
    puller = Puller(engine)
    blocks = _Blocks(shard, layers, corpus.manifest.size_px)
    chips = _take_from_spool(corpus, blocks, spool, progress)
    _pull(puller, chips, blocks, spool, progress)
    for layer in layers:
        corpus.write(shard, layer.name, blocks.values[layer.name], dict(sorted(blocks.missing[layer.name].items())))
    spool.clear(shard)
    names = tuple(layer.name for layer in layers)
    return ShardReport(shard, names, len(chips), len(shard) - len(chips), blocks.missing)


def _take_from_spool(corpus: Corpus, blocks: _Blocks, spool: Spool, progress: Progress) -> list[Chip]:
    """Place the chips that an earlier run finished; the others are returned."""
    remaining = []
    for row in blocks.shard.rows:
        kept = spool.get(blocks.shard, row)
        if kept is not None and blocks.fits(kept):
            blocks.place(row, kept)
            progress.advance()
        else:
            remaining.append(corpus.manifest[row])
    return remaining


def _pull(puller: Puller, chips: Sequence[Chip], blocks: _Blocks, spool: Spool, progress: Progress) -> None:
    pixel, region, local_layers = (
        [layer for layer in blocks.layers if isinstance(source_of(layer), kind)] for kind in (Pixels, Region, Local)
    )
    means = puller.regions(chips, region)

    def one(chip: Chip) -> None:
        pulled = puller.pixels(chip, pixel).join(local(chip, local_layers)).join(means.get(chip.row, Pulled({}, {})))
        if pixel:
            spool.put(blocks.shard, chip.row, pulled)
        blocks.place(chip.row, pulled)
        progress.advance()

    _all(one, chips, puller.engine.connection.concurrency)
    progress.note(requests=puller.engine.figures().requests)


def _all(work: Callable[[Any], Any], items: Sequence[Any], workers: int) -> list[Any]:
    """Results in order. After the first failure nothing new begins; what is under way may finish."""
    with ThreadPoolExecutor(max_workers=max(1, min(workers, len(items)))) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            _cancel(futures)
            raise
    return [future.result() for future in futures]


def _cancel(futures: Sequence[Future[Any]]) -> None:
    for future in futures:
        future.cancel()
