"""What benchmarks of reading share: our loader and its limit, and contenders in processes of their own."""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import numpy as np
import psutil
import torch
from numcodecs import blosc
from numpy.typing import NDArray

from benchmarks.resampled import TWELVE
from pipeline.corpus import Corpus
from training.batch import Batch, Raw
from training.config import PretrainConfig
from training.data.batch_loader import CPU, BatchLoader
from training.data.device_prefetcher import DevicePrefetcher, PrefetchedBatch
from training.data.stream import Stream
from training.layer import layer_of

BATCH, CROP_PX = 64, 112
_NO_CHUNK = 2**64 - 1


@dataclass(frozen=True)
class Spent:
    """What some chips took: seconds on the clock, and of all cores together."""

    chips: int
    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Task:
    """The corpus to read, and by how many threads or processes."""

    folder: Path
    workers: int

    def loader(self, image_px: int = CROP_PX) -> BatchLoader:
        """Our loader, of all modalities."""
        corpus = Corpus.open(self.folder)
        config = PretrainConfig(inputs=TWELVE[:1], batch_size=BATCH, image_px=image_px, workers=self.workers)
        return BatchLoader(corpus, [layer_of(corpus, name, {}) for name in TWELVE], config)


Read = Callable[[int], int]  # Reads about so many chips, in whole batches; returns how many.


@dataclass(frozen=True)
class Contender:
    """A way to read, and the share of the wanted chips that it reads in a round, so that rounds are short."""

    prepare: Callable[[Task], Read]
    share: float


class HandOver(DevicePrefetcher):
    """Where a GPU would fetch the raw batch: it is handed over as it is, and nothing is prepared."""

    def send(self, raw: Raw) -> PrefetchedBatch:
        """The raw batch in the place of a prepared one."""
        return PrefetchedBatch(Batch(dict(raw.stored), {}, raw.visible, raw.rows))


def ours(task: Task) -> Read:
    """Our loader, up to the raw batches that a GPU fetches."""
    loader = task.loader()
    return lambda chips: exhausted(loader.stream(0, chips // BATCH, HandOver([], CPU)))


def exhausted(batches: Stream) -> int:
    with closing(batches):
        return sum(len(batch.rows) for batch in batches)


def decoding_alone(task: Task) -> Read:
    """The limit: Blosc on the same chunks in the same order, each thread into arrays that stay in its cache."""
    loader, chunks = task.loader(), Chunks(Corpus.open(task.folder))

    def read(chips: int) -> int:
        steps = range(chips // BATCH)
        epochs = [loader.order(epoch) for epoch in range(steps.stop // loader.steps_per_epoch + 1)]
        rows = np.concatenate([order[: loader.steps_per_epoch * BATCH] for order in epochs])[: len(steps) * BATCH]
        with ThreadPoolExecutor(task.workers) as pool:
            list(pool.map(chunks.decode, np.split(rows, len(rows) // 8)))
        return len(rows)

    return read


class Chunks:
    """All compressed chunks of the pixels, in memory."""

    def __init__(self, corpus: Corpus) -> None:
        self._rows = corpus.shard_rows
        self._shapes = {
            name: (modality.shape(corpus.manifest.size_px), modality.dtype)
            for name, modality in corpus.modalities.items() if modality.extent == "pixel"
        }  # fmt: skip
        self._files = {
            (name, shard.index): corpus.object_path(name, shard).read_bytes()
            for name in self._shapes for shard in corpus.shards
        }  # fmt: skip
        self._threads = threading.local()

    def decode(self, rows: NDArray[np.int64]) -> None:
        """Decode all modalities of some rows, and throw away what comes out."""
        for name, (shape, dtype) in self._shapes.items():
            into = self._threads.__dict__.setdefault(name, np.empty(shape, dtype))
            for row in rows.tolist():
                index, place = divmod(row, self._rows)
                content = memoryview(self._files[name, index])
                pair = len(content) - 4 - 16 * (self._rows - place)  # The index ends the file, then four bytes.
                offset, length = struct.unpack_from("<QQ", content, pair)
                if length != _NO_CHUNK:
                    blosc.decompress(content[offset : offset + length], into)  # not as far as the checksum


def _serve(pipe: Pipe, contender: Contender, task: Task) -> None:
    """A contender's process: reads as many chips as it is told, and answers what they took."""
    torch.set_num_threads(1)
    read = contender.prepare(task)
    pipe.send("ready")
    while chips := pipe.recv():
        began, used = time.perf_counter(), _cpu_s()
        count = read(chips)
        pipe.send(Spent(count, time.perf_counter() - began, _cpu_s() - used))


def _cpu_s() -> float:
    """Of this process, of its children that have ended, and of those that live."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    living = [psutil.Process(child.pid).cpu_times() for child in multiprocessing.active_children()]
    return sum(item.ru_utime + item.ru_stime for item in used) + sum(item.user + item.system for item in living)


@contextmanager
def contender_process(contender: Contender, task: Task) -> Iterator[Pipe]:
    """Its end of the pipe, once it is ready; the process ends with the block."""
    context = multiprocessing.get_context("spawn")
    ours_end, its_end = context.Pipe()
    process = context.Process(target=_serve, args=(its_end, contender, task))
    process.start()
    try:
        assert ours_end.recv() == "ready"
        yield ours_end
        ours_end.send(0)
        process.join(timeout=30)
    finally:
        process.terminate()


def per_s(spent: list[Spent]) -> float:
    """Chips a second, the median of the rounds."""
    return statistics.median(item.chips / item.wall_s for item in spent)


def per_core_s(spent: list[Spent]) -> float:
    """Chips a second of one core, the median of the rounds."""
    return statistics.median(item.chips / item.cpu_s for item in spent)
