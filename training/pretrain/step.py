"""One optimisation step: the gradients of a batch, then one update, without synchronisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import Fatal
from training.batch import Batch
from training.config import PretrainConfig
from training.pretext import AdditivePretext, JointPretext, Objective, Pretext
from training.pretrain.additive_step import AdditiveStep
from training.pretrain.joint_step import JointStep
from training.pretrain.strategy import Strategy
from training.runtime.device import Device
from training.runtime.distributed_context import DistributedContext
from training.runtime.flops import Utilisation


def strategy_of(net: Pretext, device: Device, context: DistributedContext) -> Strategy:
    """How the gradients of a net are computed, by what it offers. Raises `Fatal` for a net that offers no loss."""
    if isinstance(net, AdditivePretext):
        return AdditiveStep(net, device, context)
    if isinstance(net, JointPretext):
        return JointStep(net, device, context)
    raise Fatal(f"the net {type(net).__name__} offers no loss; derive it from AdditivePretext or JointPretext.")


class Step:
    """A net, the strategy that computes its gradients, and its optimiser.

    After a non-finite gradient, this update and all later ones are skipped on the device, so the weights stay as they
    were until the host fetches the metrics.
    """

    def __init__(self, net: Pretext, config: PretrainConfig, device: Device, context: DistributedContext) -> None:
        self.model, self._device, self._strategy = net, device, strategy_of(net, device, context)
        groups = _parameter_groups(net, config.weight_decay)
        self.optimiser = torch.optim.AdamW(groups, betas=config.betas, fused=True)
        self._frozen = torch.zeros((), device=device.place)

    def take(self, parts: Sequence[Batch], chips: int, rate: float) -> Tensor:
        """Update with this process's `parts` of a batch of `chips`; returns a row of `MetricBuffer` on the device."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        result = self._strategy.gradients(parts, chips)
        norm = nn.utils.get_total_norm([item.grad for item in self.model.parameters() if item.grad is not None])
        row = self._row(result, norm)
        self._update(norm)
        return row

    def alone(self, part: Batch) -> Objective:
        """The objective of one part of a batch by itself, with graph, under the current weights."""
        return self._strategy.alone(part)

    def utilisation(self, example: Batch, peak_tflops: float = 0.0) -> Utilisation:
        """The utilisation of the device by steps on chips like those of `example`; peak 0 means to measure it."""
        counted = self._strategy.counted_pass()
        return Utilisation.of(counted, example, len(self.model.loss_names), self._device, peak_tflops)

    def _row(self, result: Objective, norm: Tensor) -> Tensor:
        figures = self.model.figures().detach().float()
        return torch.cat([result.total[None], result.losses, result.active.float(), figures, norm.float()[None]])

    def _update(self, norm: Tensor) -> None:
        self._frozen = torch.maximum(self._frozen, (~torch.isfinite(norm)).float())
        # The fused kernel reads this attribute; gradient scalers use it to skip an update without synchronisation.
        self.optimiser.found_inf = self._frozen  # type: ignore[attr-defined]
        self.optimiser.step()


def _parameter_groups(net: Pretext, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for what the net says; none for the others, as a rule biases, norms and tokens."""
    kernels = net.decaying()
    parameters = list(net.parameters())
    return [
        {"params": [item for item in parameters if id(item) in kernels], "weight_decay": weight_decay},
        {"params": [item for item in parameters if id(item) not in kernels], "weight_decay": 0.0},
    ]
