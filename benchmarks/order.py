"""Who meets in a batch, and who meets again: each order of chips beside its memory and its reading rate.

    python -m benchmarks.order [--quick] [--rows N]

Of orders of so many rows (1.2 million) in shards of 512 it counts, at batches of 4096 and of 256: how many pairs of one
run share a batch within an epoch; of pairs at most 63 rows apart that met, how many meet in the next epoch, and in one
of the five after it; the same of any two that met. A free shuffle stands beside them. "In use" is how many chips are
read together: a bucket's reader keeps as many, compressed, and asks for a run at a time; a local one keeps none. The
reading rate is that of the trainer's loader on a corpus made up on the spot, whose shards have 8 rows, so that each run
is in another shard as in a large corpus; all take turns. The last line is one JSON object: again_x_free (the default
order: of neighbours that met, those that meet in the next epoch, over a free shuffle's; the larger one of both
batches), later_x_free (an epoch after it), any_again_x_free (any two), blocks_again_x_free (the order of earlier
releases), share_of_run (the default: pairs of one run that share a batch), x_blocks_reading (chips per core-second,
the default over the order of earlier releases).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.loading import HandOver
from benchmarks.made_corpus import INPUT, LAYERS, made_corpus
from pipeline.corpus import Corpus
from training.config import PretrainConfig
from training.data.batch_loader import CPU, BatchLoader
from training.data.dealt_order import DealtOrder
from training.data.order import BlockOrder
from training.layer import layer_of

BATCHES = (4096, 256)
_SHARD_ROWS, _NEAR, _EPOCHS, _LATER = 512, 64, 7, 5
_KB_A_CHIP = 372  # Of the corpus of `benchmarks.loader`.
_READ_BATCH, _READ_SHARD_ROWS = 64, 8

_COLUMNS = (
    "order", "two of a run share a batch", "neighbours that met: next epoch", "an epoch after it",
    "any two that met: next epoch", "chips in use", "compressed", "requests a chip and layer", "chips per core-second",
)  # fmt: skip

Rows = NDArray[np.int64]
Numbers = NDArray[np.int32]
Order = DealtOrder | BlockOrder


@dataclass(frozen=True)
class Setting:
    """An order as a run would ask for it; `companions` 0 stands for the blocks of earlier releases."""

    name: str
    run_rows: int
    companions: int

    def order(self, rows: Rows, batch_rows: int) -> Order:
        """Of ascending rows, in shards."""
        if not self.companions:
            return BlockOrder(np.split(rows, range(self.run_rows, len(rows), self.run_rows)), 0, 8)
        return DealtOrder(rows, _SHARD_ROWS, self.run_rows, 0, batch_rows, self.apart)

    @property
    def apart(self) -> int:
        """Batches whose runs are dealt together."""
        return -(-self.run_rows // self.companions)

    def in_use(self, batch_rows: int) -> int:
        """Chips that are read together."""
        return self.apart * batch_rows if self.companions else 8 * self.run_rows

    def config(self) -> PretrainConfig:
        """Of the loader whose rate is measured."""
        order = PretrainConfig(inputs=(INPUT,), batch_size=_READ_BATCH, read_rows=self.run_rows)
        values = {"order": "dealt", "companions": self.companions} if self.companions else {"order": "blocks"}
        return PretrainConfig.from_dict(order.to_dict() | values)


DEFAULT = Setting("runs of 8, at most 1 in a batch (default)", PretrainConfig.read_rows, PretrainConfig.companions)
BLOCKS = Setting("blocks of 64, 8 mixed (earlier releases)", 64, 0)
FREE = Setting("free shuffle", 1, 1)
SETTINGS = (
    BLOCKS,
    Setting("runs of 64 at another offset, any number in a batch", 64, 64),
    Setting("runs of 64, at most 8 in a batch", 64, 8),
    Setting("runs of 64, at most 1 in a batch", 64, 1),
    Setting("runs of 16, at most 2 in a batch", 16, 2),
    DEFAULT,
    FREE,
)


@dataclass(frozen=True)
class Companions:
    """Probabilities: that two of a run share a batch, and that pairs which met meet in the next epoch, or a later."""

    of_a_run: float
    again: float
    later: float
    any_again: float


def companions(setting: Setting, rows: int, batch_rows: int) -> Companions:
    """Counted over some epochs."""
    order = setting.order(np.arange(rows), batch_rows)
    batches = np.stack([_batches(order.of(epoch), batch_rows) for epoch in range(_EPOCHS)])
    met, again, later = _of_neighbours(batches)
    return Companions(_of_runs(setting, order, batches), again / met, later / met, _of_any(batches))


def _batches(order: Rows, batch_rows: int) -> Numbers:
    """The batch of each row, int32 (rows,); rows that fill no batch are each alone."""
    numbers = np.arange(len(order)) // batch_rows
    left = len(order) % batch_rows
    if left:
        numbers[-left:] = -1 - np.arange(left)
    result = np.empty(len(order), np.int32)
    result[order] = numbers
    return result


def _of_neighbours(batches: Numbers) -> tuple[int, int, float]:
    """Pairs of near rows that met in an epoch, those that met in the next, and the mean of the epochs after that."""
    met, again, later = 0, 0, 0.0
    for distance in range(1, _NEAR):
        same = batches[:, :-distance] == batches[:, distance:]
        same = same[:, np.arange(same.shape[1]) % _SHARD_ROWS < _SHARD_ROWS - distance]
        met, again = met + int(same[:-1].sum()), again + int((same[:-1] & same[1:]).sum())
        later += int((same[:1] & same[2 : 2 + _LATER]).sum()) * (len(same) - 1) / _LATER
    return met, again, later


def _of_runs(setting: Setting, order: Order, batches: Numbers) -> float:
    """Of pairs of one run, those that share a batch."""
    runs = order.runs(0) if isinstance(order, DealtOrder) else np.arange(len(order.rows)) // setting.run_rows
    pairs, met = 0, 0
    for distance in range(1, setting.run_rows):
        together = runs[:-distance] == runs[distance:]
        pairs += int(together.sum())
        met += int((together & (batches[0, :-distance] == batches[0, distance:])).sum())
    return met / pairs if pairs else 0.0


def _of_any(batches: Numbers, pairs: int = 4_000_000) -> float:
    """Of any two that met in an epoch, those that meet in the next one."""
    random, met = np.random.default_rng(0), 0
    for epoch in range(_EPOCHS - 1):
        by_batch = np.argsort(batches[epoch], kind="stable")
        sizes = np.bincount(batches[epoch][by_batch] - batches.min())
        first = random.integers(len(by_batch), size=pairs)
        start = np.cumsum(sizes) - sizes
        place = batches[epoch][by_batch[first]] - batches.min()
        second = start[place] + random.integers(sizes[place])
        kept = first != second
        one, other = by_batch[first[kept]], by_batch[second[kept]]
        met += int((batches[epoch + 1][one] == batches[epoch + 1][other]).sum())
    return met / (pairs * (_EPOCHS - 1))


def rates(folder: Path, chips: int, rounds: int) -> dict[str, float]:
    """Chips per core-second of the loader in each order, from memory; they take turns, and the first does not count."""
    corpus = made_corpus(folder, chips, 2, _READ_SHARD_ROWS)
    loaders = {item.name: _loader(corpus, item) for item in SETTINGS}
    found: dict[str, list[float]] = {name: [] for name in loaders}
    for _ in range(rounds + 1):
        for name, loader in loaders.items():
            found[name].append(_chips_per_core_s(loader))
    return {name: statistics.median(values[1:]) for name, values in found.items()}


def _loader(corpus: Corpus, setting: Setting) -> BatchLoader:
    return BatchLoader(corpus, [layer_of(corpus, item.name, {}) for item in LAYERS], setting.config())


def _chips_per_core_s(loader: BatchLoader) -> float:
    began = time.process_time()
    with closing(loader.stream(0, loader.steps_per_epoch, HandOver([], CPU))) as batches:
        chips = sum(len(batch.rows) for batch in batches)
    return chips / (time.process_time() - began)


def show(found: dict[tuple[str, int], Companions], rate: dict[str, float], rows: int) -> None:
    """A table for each size of a batch."""
    for batch_rows in BATCHES:
        free = _free(batch_rows, rows)
        print(f"\nbatches of {batch_rows}, {rows:,} rows; meeting again in multiples of a free shuffle's {free:.2e}\n")
        print("| " + " | ".join(_COLUMNS) + " |\n|" + "---|" * len(_COLUMNS))
        for item in SETTINGS:
            print(_line(item, batch_rows, found[item.name, batch_rows], rate[item.name], free))


def _line(item: Setting, batch_rows: int, found: Companions, rate: float, free: float) -> str:
    times = [f"{value / free:.3g}" for value in (found.again, found.later, found.any_again)]
    chips = item.in_use(batch_rows)
    memory = f"{chips * _KB_A_CHIP / 1e6:.2g} GB"
    cells = [item.name, f"{found.of_a_run:.2g}", *times, f"{chips:,}", memory, f"1/{item.run_rows}", f"{rate:.0f}"]
    return f"| {' | '.join(cells)} |"


def _free(batch_rows: int, rows: int) -> float:
    return (batch_rows - 1) / (rows - 1)


def result(found: dict[tuple[str, int], Companions], rate: dict[str, float], rows: int) -> dict[str, float]:
    """The figures that the goals are about; of two sizes of a batch, the worse one."""

    def worst(setting: Setting, field: str) -> float:
        return max(float(getattr(found[setting.name, size], field)) / _free(size, rows) for size in BATCHES)

    return {
        "again_x_free": round(worst(DEFAULT, "again"), 2),
        "later_x_free": round(worst(DEFAULT, "later"), 2),
        "any_again_x_free": round(worst(DEFAULT, "any_again"), 2),
        "blocks_again_x_free": round(worst(BLOCKS, "again"), 1),
        "share_of_run": max(found[DEFAULT.name, size].of_a_run for size in BATCHES),
        "x_blocks_reading": round(rate[DEFAULT.name] / rate[BLOCKS.name], 3),
    }


def main() -> None:
    """Count, read, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rows, less to read")
    parser.add_argument("--rows", type=int, default=0, help="rows of the orders (1,200,000)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = options.rows or (100_000 if options.quick else 1_200_000)
    found = {(item.name, size): companions(item, rows, size) for item in SETTINGS for size in BATCHES}
    with tempfile.TemporaryDirectory() as folder:
        rate = rates(Path(folder), 256 if options.quick else 1024, 1 if options.quick else 5)
    show(found, rate, rows)
    print(json.dumps(result(found, rate, rows)))


if __name__ == "__main__":
    main()
