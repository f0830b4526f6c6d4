"""A stream of batches: threads decode ahead into reused buffers, and the device prepares the values."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.batch import Batch, Raw
from training.data.device_prefetcher import Copied, DevicePrefetcher, PrefetchedBatch

_CHIPS_A_TASK = 8  # Some milliseconds of decoding; submitting a task costs a hundredth of that.

Shapes = Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]
Fill = Callable[[Mapping[str, NDArray[Any]], slice], None]


@dataclass(frozen=True)
class Job:
    """A batch to make: `raw` has everything but the pixels, and `fill` decodes the pixels of a slice of its rows."""

    raw: Raw
    fill: Fill


class Buffer:
    """Arrays for the pixels of a batch, and the same memory as tensors; pinned where a GPU copies from it."""

    def __init__(self, shapes: Shapes, pinned: bool) -> None:
        self.arrays: dict[str, NDArray[Any]] = {}
        self.tensors: dict[str, Tensor] = {}
        for name, (shape, dtype) in shapes.items():
            kind = torch.from_numpy(np.empty(0, dtype)).dtype
            self.tensors[name] = torch.empty(shape, dtype=kind, pin_memory=pinned)
            self.arrays[name] = self.tensors[name].numpy()

    def with_pixels(self, raw: Raw) -> Raw:
        """`raw` with the pixels of this buffer."""
        stored = {name: tensor[: len(raw.rows)] for name, tensor in self.tensors.items()}
        return replace(raw, stored=stored | dict(raw.stored))


@dataclass(frozen=True)
class _Decoding:
    raw: Raw
    buffer: Buffer
    tasks: Sequence[Future[None]]


class Stream(Iterator[Batch]):
    """Batches of `jobs` in their order; up to `ahead` of them are decoded while the caller computes. `close` it.

    `closed` is called when no thread decodes any more. `wait_s` is how long the caller waited for the decoding of the
    last batch, in seconds. An error of decoding is raised by `next` for the batch in which it happened.
    """

    def __init__(
        self,
        jobs: Iterator[Job],
        shapes: Shapes,
        prefetcher: DevicePrefetcher,
        workers: int,
        ahead: int,
        closed: Callable[[], None] = lambda: None,
    ) -> None:
        self._jobs, self._prefetcher, self._closed = jobs, prefetcher, closed
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="loader")
        pinned = prefetcher.device.type == "cuda"
        buffers = ahead + 1 if prefetcher.overlaps else ahead  # One is copied while the others are filled.
        self._free = deque(Buffer(shapes, pinned) for _ in range(buffers))
        self._decoding: deque[_Decoding] = deque()
        self._sent: deque[PrefetchedBatch] = deque()
        # Without the prefetched batches, which would stay in memory.
        self._in_flight: deque[tuple[Copied, Buffer]] = deque()
        self.wait_s = 0.0

    def __next__(self) -> Batch:
        """The next batch, on the device; the caller may change it."""
        self._submit()
        self.wait_s = 0.0
        if not self._sent:
            self._send()
        batch = self._prefetcher.receive(self._sent.popleft())
        self._submit()
        if self._prefetcher.overlaps and self._decoding and all(task.done() for task in self._decoding[0].tasks):
            self._send()
        return batch

    def close(self) -> None:
        """Stop the threads and drop the batches that they decode."""
        self._pool.shutdown(cancel_futures=True)
        self._closed()

    def _send(self) -> None:
        """Send the oldest batch to the device, after waiting for its decoding."""
        if not self._decoding:
            self.close()
            raise StopIteration
        began, item = time.perf_counter(), self._decoding.popleft()
        for task in item.tasks:
            task.result()
        self.wait_s += time.perf_counter() - began
        self._sent.append(self._prefetcher.send(item.raw))
        self._in_flight.append((self._sent[-1].copied, item.buffer))

    def _submit(self) -> None:
        """Start decoding as many batches as there are free buffers."""
        while (buffer := self._buffer()) is not None:
            job = next(self._jobs, None)
            if job is None:
                self._free.append(buffer)
                return
            self._start(job, buffer)

    def _buffer(self) -> Buffer | None:
        """A buffer whose values are copied already; waits for one only when no other batch is in progress."""
        if self._free:
            return self._free.popleft()
        if not self._in_flight:
            return None
        copied, buffer = self._in_flight[0]
        if copied is not None and not copied.query():
            if self._decoding or self._sent:
                return None
            copied.synchronize()
        self._in_flight.popleft()
        return buffer

    def _start(self, job: Job, buffer: Buffer) -> None:
        rows = len(job.raw.rows)
        spans = [slice(start, min(start + _CHIPS_A_TASK, rows)) for start in range(0, rows, _CHIPS_A_TASK)]
        tasks = [self._pool.submit(job.fill, buffer.arrays, span) for span in spans]
        self._decoding.append(_Decoding(buffer.with_pixels(job.raw), buffer, tasks))


def default_workers() -> int:
    """The number of cores available to this process, divided by the processes on this machine."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, available // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
