"""How much arithmetic a step is, and how much the device can do: their quotient is the model FLOP utilisation."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from training.batch import Batch
from training.runtime.device import Device

_PASSES = 3  # Forward once, and backward twice as much: towards the inputs and towards the weights.
_EDGE = {"cuda": 8192, "cpu": 512}


@dataclass(frozen=True)
class Utilisation:
    """The arithmetic of training on one chip, and what one device can do in a second."""

    flops_per_chip: float
    peak_flops: float

    @classmethod
    def of(
        cls, objective: nn.Module, example: Batch, targets: int, device: Device, peak_tflops: float = 0.0
    ) -> Utilisation:
        """Counted for chips like those of `example`, as `flops_per_chip`; the peak is measured where none is given."""
        return cls(flops_per_chip(objective, example, targets), peak_tflops * 1e12 or measured_peak(device))

    def at(self, samples_per_s: float) -> float:
        """The share of the peak that a device reaches at `samples_per_s` of its own."""
        return self.flops_per_chip * samples_per_s / self.peak_flops


def flops_per_chip(objective: nn.Module, batch: Batch, targets: int) -> float:
    """Floating-point operations of training on one chip: of convolutions and matrix products, three times forward.

    `objective` takes a batch, how many values each of so many `targets` has, and the share of a whole batch. Counted by
    torch on the meta device, which computes nothing. A masked step is counted as it is computed.
    """
    meta = torch.device("meta")
    weights: dict[str, Tensor] = {name: item.to(meta) for name, item in objective.state_dict().items()}
    counts = torch.ones(targets, device=meta)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        functional_call(objective, weights, (batch.to(meta), counts, 1.0))
    return _PASSES * counter.get_total_flops() / len(batch.rows)


def measured_peak(device: Device) -> float:
    """Floating-point operations a second in square matrix products of the run's own type: the best of a few."""
    edge = _EDGE[device.place.type]
    random = torch.Generator(device.place).manual_seed(0)  # Its own: a run's random numbers are for the run.
    item, other = (torch.randn(edge, edge, generator=random, device=device.place).to(device.dtype) for _ in range(2))
    best_s = min(_product_s(item, other, device) for _ in range(5))
    return float(2 * edge**3 / best_s)


def _product_s(one: Tensor, other: Tensor, device: Device) -> float:
    device.synchronise()
    began = time.perf_counter()
    one @ other
    device.synchronise()
    return time.perf_counter() - began
