"""Operations of a step and peak of the device; their quotient is the model FLOP utilisation (MFU)."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from training.batch import Batch
from training.runtime.device import Device

_PASSES = 3  # One forward, and a backward pass of twice its operations: gradients of inputs and of weights.
_EDGE = {"cuda": 8192, "cpu": 512}


@dataclass(frozen=True)
class Utilisation:
    """Floating-point operations of training on one chip, and the peak of one device per second."""

    flops_per_chip: float
    peak_flops: float

    @classmethod
    def of(
        cls, objective: nn.Module, example: Batch, targets: int, device: Device, peak_tflops: float = 0.0
    ) -> Utilisation:
        """Counted for chips like those of `example` by `flops_per_chip`; without `peak_tflops` the peak is measured.

        NaN operations where torch cannot count, as for a net that looks at its values.
        """
        return cls(_counted(objective, example, targets), peak_tflops * 1e12 or measured_peak(device))

    def at(self, samples_per_s: float) -> float:
        """The fraction of the peak that one device reaches at `samples_per_s` per device."""
        return self.flops_per_chip * samples_per_s / self.peak_flops


def _counted(objective: nn.Module, example: Batch, targets: int) -> float:
    try:
        return flops_per_chip(objective, example, targets)
    except RuntimeError:
        return math.nan


def flops_per_chip(objective: nn.Module, batch: Batch, targets: int) -> float:
    """Floating-point operations of training on one chip: convolutions and matrix products, three forward passes.

    `objective` takes a batch, the number of values of each of the `targets`, and the fraction of the whole batch.
    torch counts on the meta device, which computes nothing. A masked step is counted as it is computed.
    """
    meta = torch.device("meta")
    # Not the state: it lacks buffers that are not saved, and has weights with two names twice.
    weights: dict[str, Tensor] = {
        name: item.to(meta) for name, item in (*objective.named_parameters(), *objective.named_buffers())
    }
    counts = torch.ones(targets, device=meta)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        functional_call(objective, weights, (batch.to(meta), counts, 1.0))
    return _PASSES * counter.get_total_flops() / len(batch.rows)


def measured_peak(device: Device) -> float:
    """Floating-point operations per second of square matrix products in the dtype of `device`: the best of five."""
    edge = _EDGE[device.place.type]
    random = torch.Generator(device.place).manual_seed(0)  # A separate one: the random state of the run is unchanged.
    left, right = (torch.randn(edge, edge, generator=random, device=device.place).to(device.dtype) for _ in range(2))
    best_s = min(_product_s(left, right, device) for _ in range(5))
    return float(2 * edge**3 / best_s)


def _product_s(left: Tensor, right: Tensor, device: Device) -> float:
    device.synchronise()
    began = time.perf_counter()
    left @ right
    device.synchronise()
    return time.perf_counter() - began
