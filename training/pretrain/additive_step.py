"""Gradients of objectives that add up over the parts of a batch: each part goes forward and backward once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pipeline.errors import Fatal
from training.batch import Batch
from training.pretext import AdditivePretext, Objective, counted, fitting
from training.runtime.device import Device
from training.runtime.distributed_context import DistributedContext


class ObjectiveOf(nn.Module):
    """The net's objective as a forward pass, for `torch.compile` and `DistributedDataParallel`."""

    def __init__(self, net: AdditivePretext) -> None:
        super().__init__()
        self.model = net

    def forward(self, batch: Batch, counts: Tensor, fraction: float) -> tuple[Tensor, Tensor]:
        """The weighted sum to minimise (scalar) and the losses (losses,) of a part of a batch."""
        result = fitting(self.model.objective(batch, counts, fraction), self.model)
        return result.total, result.losses.detach()


class AdditiveStep:
    """The strategy of `AdditivePretext`: losses are means over the values of the whole batch, over all processes.

    Apart from rounding, the gradients do not depend on how the batch is divided.
    """

    def __init__(self, net: AdditivePretext, device: Device, context: DistributedContext) -> None:
        self._net, self._device, self._context = net, device, context
        objective: Any = ObjectiveOf(net)
        if device.compiled:
            objective = torch.compile(objective, dynamic=False)
        # Without device ids: with them the wrapper would search the batch, which is on the device, for tensors to move.
        self._objective = (
            DistributedDataParallel(objective, find_unused_parameters=net.leaves_unused)
            if context.count > 1
            else objective
        )

    def gradients(self, parts: Sequence[Batch], chips: int) -> Objective:
        """See `Strategy`."""
        counts = self._context.summed(torch.stack([counted(self._net, part) for part in parts]).sum(0))
        total = torch.zeros((), device=self._device.place)
        losses = torch.zeros(len(counts), device=self._device.place)
        for index, part in enumerate(parts):
            result = self._backward(part, counts, len(part.rows) / chips, last=index + 1 == len(parts))
            total, losses = total + result[0], losses + result[1]
        return Objective(total, losses, counts > 0)

    def alone(self, part: Batch) -> Objective:
        """See `Strategy`."""
        with self._device.autocast():
            return fitting(self._net.objective(part, counted(self._net, part), 1.0), self._net)

    def counted_pass(self) -> nn.Module:
        """See `Strategy`."""
        return ObjectiveOf(self._net)

    def _backward(self, part: Batch, counts: Tensor, fraction: float, last: bool) -> tuple[Tensor, Tensor]:
        accumulating = not last and isinstance(self._objective, DistributedDataParallel)
        with self._objective.no_sync() if accumulating else nullcontext():
            with self._device.autocast():
                total, losses = self._objective(part, counts, fraction)
            if not total.requires_grad:
                raise Fatal(
                    f"the total of the objective of the net {type(self._net).__name__} has no graph, so that nothing "
                    "would be learned; compute it from the net's outputs without detach or no_grad."
                )
            # `DistributedDataParallel` averages gradients, but the objectives of the parts add up.
            (total * self._context.count).backward()
        return total.detach().float(), losses.float()
