"""The losses of chips that are not trained on: without gradients, with the same crops, masks and draws each time."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.batch import Batch
from training.pretext import AdditivePretext, JointPretext, Objective, Pretext, counted, fitting
from training.pretrain.joint_step import exact
from training.pretrain.resolved_run import ResolvedRun
from training.pretrain.shared_rows import SharedRows
from training.runtime.device import Device
from training.runtime.distributed_context import DistributedContext

_DRAWS = 0x7A11DA7E  # Not those of a step.


@dataclass(frozen=True)
class HeldOutLosses:
    """The `objective` of all chips, and further `scores` by name; the same in all processes."""

    objective: Objective
    scores: dict[str, float]


class HeldOut:
    """The centres of the chips in `rows`, with the masks of the first epoch; the processes divide them.

    For an additive loss they are one batch. For a joint one they are as many batches of the run's size as it takes,
    equally large but for one chip, whose losses are averaged: such a loss depends on the number of chips.
    """

    def __init__(
        self, resolved: ResolvedRun, rows: NDArray[np.int64], device: Device, context: DistributedContext
    ) -> None:
        self._resolved, self._device, self._rank = resolved, device, context.rank
        self._rows = SharedRows.of(rows, context, resolved.config.micro_batch or resolved.loader.batch_size)
        self._counts: Tensor | None = None

    @torch.no_grad()
    def losses(self, net: Pretext) -> HeldOutLosses:
        """By the weights of `net`, which is left in the mode of evaluation; torch's generators are as before."""
        net.eval()
        if isinstance(net, AdditivePretext):
            return HeldOutLosses(self._additive(net), {})
        return self._joint(cast(JointPretext, net))

    def _additive(self, net: AdditivePretext) -> Objective:
        if self._counts is None:  # The same chips and masks each time.
            # Closed also where an error keeps the comprehension, and with it the random state to put back, alive.
            with closing(self._parts()) as parts:
                self._counts = self._rows.summed(torch.stack([counted(net, part) for part in parts]).sum(0))
        counts, every = self._counts, len(self._rows.rows)
        sums = torch.zeros(1 + len(counts), device=self._device.place)
        for part in self._parts():
            with self._device.autocast():
                result = fitting(net.objective(part, counts, len(part.rows) / every), net)
            sums += torch.cat([result.total[None], result.losses]).float()
        sums = self._rows.summed(sums)
        return Objective(sums[0], sums[1:], counts > 0)

    def _joint(self, net: JointPretext) -> HeldOutLosses:
        parts = []
        for part in self._parts():
            with self._device.autocast():
                parts.append(exact(net.represent(part)))
        whole = {name: self._rows.gathered(torch.cat([item[name] for item in parts])) for name in parts[0]}
        every, size = len(self._rows.rows), self._resolved.loader.batch_size
        batches = np.array_split(np.arange(every), -(-every // size))
        spans = [slice(int(rows[0]), int(rows[-1]) + 1) for rows in batches]
        results = [fitting(net.joint({name: item[span] for name, item in whole.items()}), net) for span in spans]
        scores = {name: float(value) for name, value in net.scores(whole).items()}
        return HeldOutLosses(_mean(results, [len(rows) for rows in batches]), scores)

    def _parts(self) -> Generator[Batch, None, None]:
        """The parts of this process, each with a random state of its own, the same at every pass."""
        with closing(self._resolved.loader.centres(self._rows.parts, self._device.place)) as stream:
            for index, part in enumerate(stream):
                with _drawing(self._device, self._resolved.config.seed, self._rank, index):
                    yield part


@contextmanager
def _drawing(device: Device, seed: int, rank: int, index: int) -> Iterator[None]:
    """With torch's generators in a state that follows from the numbers; as before at the end."""
    entropy = np.random.SeedSequence([seed, _DRAWS, rank, index]).generate_state(1, np.uint64)
    with torch.random.fork_rng(devices=[device.place] if device.place.type == "cuda" else []):
        torch.manual_seed(int(entropy[0]))
        yield


def _mean(results: list[Objective], chips: list[int]) -> Objective:
    """The mean of the objectives of some batches, a loss over those in which it counted anything."""
    weights = torch.tensor(chips, device=results[0].total.device, dtype=results[0].losses.dtype)
    active = torch.stack([item.active for item in results])
    shares = weights[:, None] * active
    losses = (torch.stack([item.losses for item in results]) * shares).sum(0) / shares.sum(0).clamp(min=1)
    total = (torch.stack([item.total for item in results]) * weights).sum() / weights.sum()
    return Objective(total, losses, active.any(dim=0))
