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

    An update whose loss or gradients are not finite is skipped on the device. After `config.bad_steps` of them in a row
    all later ones are, too, so that the weights stay as they were until the host fetches the metrics.
    """

    def __init__(self, net: Pretext, config: PretrainConfig, device: Device, context: DistributedContext) -> None:
        self.model, self._device, self._strategy = net, device, strategy_of(net, device, context)
        groups = _parameter_groups(net, config.weight_decay)
        self.optimiser = torch.optim.AdamW(groups, betas=config.betas, fused=True)
        self._context, self._bad_steps, self._clip_grad = context, config.bad_steps, config.clip_grad
        self.go_on_after(0)

    def go_on_after(self, bad_in_a_row: int) -> None:
        """Go on where so many steps, up to the last one, were skipped in a row; a step that is good is taken."""
        most = min(bad_in_a_row, self._bad_steps - 1)  # They were skipped under another `bad_steps`, perhaps.
        self._bad_in_a_row = torch.full((), float(most), device=self._device.place)

    def take(self, parts: Sequence[Batch], chips: int, rate: float) -> Tensor:
        """Update with this process's `parts` of a batch of `chips`; returns a row of `MetricBuffer` on the device.

        The row's gradient norm is infinite exactly if the update was skipped.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        result = self._strategy.gradients(parts, chips)
        norm = self._clipped_norm()
        skipped = self._is_bad(result, norm)
        row = self._row(result, torch.where(skipped > 0, torch.inf, norm.float()))
        self._update(skipped)
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

    def _clipped_norm(self) -> Tensor:
        """The norm of all gradients before they are scaled down to a norm of `config.clip_grad` (0: as they are)."""
        trained = [item for item in self.model.parameters() if item.grad is not None]
        norm = nn.utils.get_total_norm([item.grad for item in trained if item.grad is not None])
        if self._clip_grad:
            nn.utils.clip_grads_with_norm_(trained, self._clip_grad, norm)
        return norm

    def _is_bad(self, result: Objective, norm: Tensor) -> Tensor:
        """1.0 where this update is to be skipped, the same in every process; counts those in a row."""
        own = torch.cat([result.total.detach()[None], result.losses.detach()])
        broken = self._context.summed((~torch.isfinite(own)).any().float()) > 0  # each process has losses of its own
        bad = (broken | ~torch.isfinite(norm) | (self._bad_in_a_row >= self._bad_steps)).float()
        self._bad_in_a_row = (self._bad_in_a_row + 1) * bad
        return bad

    def _update(self, skipped: Tensor) -> None:
        # The fused kernel reads this attribute; gradient scalers use it to skip an update without synchronisation.
        self.optimiser.found_inf = skipped  # type: ignore[attr-defined]
        self.optimiser.step()


def _parameter_groups(net: Pretext, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for what the net says; none for the others, as a rule biases, norms and tokens."""
    kernels = net.decaying()
    parameters = list(net.parameters())
    return [
        {"params": [item for item in parameters if id(item) in kernels], "weight_decay": weight_decay},
        {"params": [item for item in parameters if id(item) not in kernels], "weight_decay": 0.0},
    ]
