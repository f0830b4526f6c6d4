"""Copies raw batches to the training device: synchronously on a CPU, on a separate CUDA stream on a GPU."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from training.batch import Batch, Raw
from training.data.prepare import Preparation
from training.layer import Layer

_STEPS_AHEAD = 2  # The most by which the host may be ahead of the GPU; otherwise waiting batches would fill its memory.


Copied = torch.cuda.Event | None


@dataclass(frozen=True)
class PrefetchedBatch:
    """A batch in flight: after `copied` its raw values may be overwritten, after `ready` it may be used (None: now)."""

    batch: Batch
    copied: Copied = None
    ready: torch.cuda.Event | None = None


class DevicePrefetcher:
    """Copies and prepares batches for `device`; a step takes `micro_batches` of them."""

    def __init__(self, layers: Sequence[Layer], device: torch.device, micro_batches: int = 1) -> None:
        self.device = device
        self._most_ahead = _STEPS_AHEAD * micro_batches
        self._prepare = Preparation(layers, device)
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._used: deque[torch.cuda.Event] = deque()
        if self._stream is not None:
            # The tables of the preparation are copied on the current stream.
            self._stream.wait_stream(torch.cuda.current_stream(device))

    @property
    def overlaps(self) -> bool:
        """Whether `send` returns before the batch is copied and prepared."""
        return self._stream is not None

    def send(self, raw: Raw) -> PrefetchedBatch:
        """Start copying and preparing a batch; on a CPU this is complete on return."""
        if self._stream is None:
            return PrefetchedBatch(self._prepare(raw))
        with torch.cuda.stream(self._stream):
            # torch keeps pinned memory that was dropped until the copies from it are done.
            moved = raw.pinned().to(self.device)
            copied = self._stream.record_event()
            return PrefetchedBatch(self._prepare(moved), copied, self._stream.record_event())

    def receive(self, prefetched: PrefetchedBatch) -> Batch:
        """The batch, for use on the current stream; waits while the host is too far ahead of the device."""
        if self._stream is None or prefetched.ready is None:
            return prefetched.batch
        current = torch.cuda.current_stream(self.device)
        self._used.append(current.record_event())
        if len(self._used) > self._most_ahead:
            self._used.popleft().synchronize()
        current.wait_event(prefetched.ready)
        for tensor in prefetched.batch.tensors():
            tensor.record_stream(current)
        return prefetched.batch
