"""One optimisation step: forward and backward for the parts of a batch, then one update, without synchronisation."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from training.batch import Batch
from training.config import PretrainConfig
from training.methods.mpmae import MPMAE
from training.model.weight_decay import decaying
from training.runtime.device import Device
from training.runtime.distributed_context import DistributedContext
from training.runtime.flops import Utilisation


class ObjectiveOf(nn.Module):
    """The model's objective as a forward pass, for `torch.compile` and `DistributedDataParallel`."""

    def __init__(self, model: MPMAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, counts: Tensor, fraction: float) -> tuple[Tensor, Tensor]:
        """The weighted sum to minimise (scalar) and the losses (targets,) of a part of a batch."""
        result = self.model.objective(batch, counts, fraction)
        return result.total, result.losses.detach()


class Step:
    """A model and its optimiser.

    Losses are means over the valid values of the whole batch, over all parts and processes. Apart from rounding, the
    update does not depend on how the batch is divided. After a non-finite gradient, this update and all later ones are
    skipped on the device, so the weights stay as they were until the host fetches the metrics.
    """

    def __init__(self, model: MPMAE, config: PretrainConfig, device: Device, context: DistributedContext) -> None:
        self.model, self._device, self._context = model, device, context
        groups = _parameter_groups(model, config.weight_decay)
        self.optimiser = torch.optim.AdamW(groups, betas=config.betas, fused=True)
        self._frozen = torch.zeros((), device=device.place)
        objective: Any = ObjectiveOf(model)
        if device.compiled:
            objective = torch.compile(objective, dynamic=False)
        # Without device ids: with them the wrapper would search the batch, which is on the device, for tensors to move.
        unused = all(layer.pixel for layer in model.targets)  # The norm of image-level heads is unused then.
        self._objective = (
            DistributedDataParallel(objective, find_unused_parameters=unused) if context.count > 1 else objective
        )

    def take(self, parts: Sequence[Batch], chips: int, rate: float) -> Tensor:
        """Update with this process's `parts` of a batch of `chips`; returns a row of `MetricBuffer` on the device."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        counts = self._context.summed(torch.stack([self.model.counts(part) for part in parts]).sum(0))
        self.optimiser.zero_grad(set_to_none=True)
        losses = torch.zeros(len(counts), device=self._device.place)
        for index, part in enumerate(parts):
            losses += self._backward(part, counts, len(part.rows) / chips, last=index + 1 == len(parts))
        norm = nn.utils.get_total_norm([item.grad for item in self.model.parameters() if item.grad is not None])
        row = torch.cat([losses, (counts > 0).float(), self._log_variances(), norm.float()[None]])
        self._update(norm)
        return row

    def utilisation(self, example: Batch, peak_tflops: float = 0.0) -> Utilisation:
        """The utilisation of the device by steps on chips like those of `example`; peak 0 means to measure it."""
        return Utilisation.of(ObjectiveOf(self.model), example, len(self.model.targets), self._device, peak_tflops)

    def _backward(self, part: Batch, counts: Tensor, fraction: float, last: bool) -> Tensor:
        accumulating = not last and isinstance(self._objective, DistributedDataParallel)
        with self._objective.no_sync() if accumulating else nullcontext():
            with self._device.autocast():
                total, losses = self._objective(part, counts, fraction)
            # `DistributedDataParallel` averages gradients, but the objectives of the parts add up.
            (total * self._context.count).backward()
        return losses.float()

    def _log_variances(self) -> Tensor:
        log_variances = self.model.log_variances
        return torch.zeros(0, device=self._device.place) if log_variances is None else log_variances.detach().float()

    def _update(self, norm: Tensor) -> None:
        self._frozen = torch.maximum(self._frozen, (~torch.isfinite(norm)).float())
        # The fused kernel reads this attribute; gradient scalers use it to skip an update without synchronisation.
        self.optimiser.found_inf = self._frozen  # type: ignore[attr-defined]
        self.optimiser.step()


def _parameter_groups(model: MPMAE, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices and kernels; none for biases, norms, response norms, mask token and log variances."""
    kernels = decaying(model)
    parameters = list(model.parameters())
    return [
        {"params": [item for item in parameters if id(item) in kernels], "weight_decay": weight_decay},
        {"params": [item for item in parameters if id(item) not in kernels], "weight_decay": 0.0},
    ]
