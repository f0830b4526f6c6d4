"""Raw batches to the device that trains: at once on a CPU; beside the computing, on a stream of their own, on a GPU."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from training.batch import Batch, Raw
from training.data.prepare import Preparation
from training.layer import Layer

_STEPS_AHEAD = 2  # Of the GPU, at most: or the host would fill its memory with batches that wait to be used.


Copied = torch.cuda.Event | None


@dataclass(frozen=True)
class PrefetchedBatch:
    """A batch on its way: `copied` when its raw values may be overwritten, `ready` when it may be used (None: now)."""

    batch: Batch
    copied: Copied = None
    ready: torch.cuda.Event | None = None


class DevicePrefetcher:
    """Copies and prepares batches for `device`, of which a step takes `pieces` at once."""

    def __init__(self, layers: Sequence[Layer], device: torch.device, pieces: int = 1) -> None:
        self.device = device
        self._most_ahead = _STEPS_AHEAD * pieces
        self._prepare = Preparation(layers, device)
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._used: deque[torch.cuda.Event] = deque()
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(device))  # The tables of the preparation are there.

    @property
    def overlaps(self) -> bool:
        """Whether sending a batch early takes no time from the caller."""
        return self._stream is not None

    def send(self, raw: Raw) -> PrefetchedBatch:
        """Start copying and preparing; on a CPU it is done on return."""
        if self._stream is None:
            return PrefetchedBatch(self._prepare(raw))
        with torch.cuda.stream(self._stream):
            moved = raw.to(self.device)
            copied = self._stream.record_event()
            return PrefetchedBatch(self._prepare(moved), copied, self._stream.record_event())

    def receive(self, prefetched: PrefetchedBatch) -> Batch:
        """The batch, for use on the current stream; holds the host back when it is too far ahead of the device."""
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
