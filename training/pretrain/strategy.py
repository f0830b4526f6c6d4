"""What a step asks of the way in which a net's gradients are computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import nn

from training.batch import Batch
from training.pretext import Objective


class Strategy(Protocol):
    """Computes the gradients of one batch, however it is divided into parts and processes."""

    def gradients(self, parts: Sequence[Batch], chips: int) -> Objective:
        """Leave the gradients of a batch of `chips` in the parameters, equal in all processes, without waiting.

        `parts` are those of this process. Returns detached tensors on the device: `total` and `losses` are this
        process's share, which add up over the processes; `active` is of the whole batch.
        """
        ...

    def alone(self, part: Batch) -> Objective:
        """The objective of one part by itself, with graph; without a word to the other processes."""
        ...

    def counted_pass(self) -> nn.Module:
        """The forward pass whose operations are counted: it takes a batch, counts per loss, and a fraction."""
        ...
