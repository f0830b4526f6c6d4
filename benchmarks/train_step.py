"""A training step: ours from a real shard store, the published code's dense path, and a plain dense net as the limit.

    python -m benchmarks.train_step [--quick] [--device auto|cpu|cuda] [--batch N] [--encoder NAME] [--compile on|off]

Twelve layers, 112 px, patch 16. All take turns in every round of one run, after a warm-up that compiles. Ours reads,
decodes and prepares its batches; the two others have theirs on the device. It makes its data, asks nothing, and needs
torch and the packages of the store (README.md beside this file). The last line is one JSON object: device,
samples_per_s (ours), x_reference (ours over the published path), fraction_of_dense (ours, decoder, heads and losses
included, over an unmasked encoder's forward and backward pass alone), mfu, data_wait_share.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import torch

from benchmarks.made_corpus import INPUT, made_corpus
from benchmarks.published_step import PublishedStep
from pipeline.corpus import Corpus
from training.architecture import SIZES
from training.config import PretrainConfig
from training.data.stream import Stream
from training.methods.mpmae import MPMAE
from training.model.encoder import Encoder
from training.pretrain.resolved_run import ResolvedRun, resolve_run
from training.pretrain.step import Step
from training.runtime.device import Device
from training.runtime.distributed_context import DistributedContext
from training.runtime.flops import Utilisation

_RATE = 1e-4
_OURS, _DENSE_MASKED = "ours", "ours, hidden computed too"
_PUBLISHED, _LIMIT = "published dense path", "limit: dense net"


@dataclass(frozen=True)
class Scale:
    """How much is measured: chips a batch, chips in the store, rounds, and seconds of each way in a round."""

    batch: int
    chips: int
    rounds: int
    turn_s: float


# A turn is at least one step. The rounds and the making of the data stay within minutes on any GPU of today.
SCALES = {
    ("cpu", False): Scale(32, 256, 5, 20.0),
    ("cpu", True): Scale(4, 32, 2, 0.1),
    ("cuda", False): Scale(256, 2048, 5, 6.0),
    ("cuda", True): Scale(64, 512, 2, 1.0),
}


class Ours:
    """The trainer's step, from the store."""

    def __init__(self, resolved: ResolvedRun, device: Device) -> None:
        torch.manual_seed(0)
        config = resolved.config
        model = device.adopt(MPMAE(resolved.inputs, resolved.targets, config))
        self.waited_s, self._batch = 0.0, config.batch_size
        self.step = Step(model, config, device, DistributedContext())
        self.stream: Stream = resolved.loader.batches(0, 2**40, device.place)

    def __call__(self) -> None:
        """One step."""
        batch = next(self.stream)
        self.waited_s += self.stream.wait_s
        self.step.take([batch], self._batch, _RATE)


class Limit:
    """A dense, unmasked ConvNeXt V2 of the same size, forward and backward, and its update; nothing else."""

    def __init__(self, resolved: ResolvedRun, device: Device) -> None:
        config = resolved.config
        self._device = device
        shape = (config.batch_size, resolved.inputs[0].channels, config.image_px, config.image_px)
        self._images = torch.randn(shape, device=device.place).contiguous(memory_format=torch.channels_last)
        encoder = device.adopt(Encoder(shape[1], SIZES[config.encoder], config.patch_px))
        self._optimiser = torch.optim.AdamW(encoder.parameters(), lr=_RATE, fused=True)
        self._encode: Callable[[torch.Tensor], torch.Tensor] = (
            torch.compile(encoder, dynamic=False) if device.compiled else encoder
        )

    def __call__(self) -> None:
        """One step."""
        self._optimiser.zero_grad(set_to_none=True)
        with self._device.autocast():
            features = self._encode(self._images)
        features.float().square().mean().backward()
        self._optimiser.step()


class Published:
    """The published code's dense path, on one batch over and over."""

    def __init__(self, resolved: ResolvedRun, device: Device) -> None:
        config = resolved.config
        self._step = PublishedStep(resolved.inputs[0], resolved.targets, config.encoder, config.patch_px, device.place)
        self._batch = resolved.loader.batch(0).to(device.place)

    def __call__(self) -> None:
        """One step."""
        self._step.take(self._batch)


@dataclass
class Turns:
    """What one way did in the rounds: chips a second each, and the share of the time it waited for data."""

    per_s: list[float]
    waiting: list[float]

    @property
    def median_per_s(self) -> float:
        """Chips a second."""
        return statistics.median(self.per_s)


def turn(step: Callable[[], None], batch: int, device: Device, turn_s: float) -> tuple[float, float]:
    """Chips a second over about `turn_s`, and the share that `step` waited for data."""
    waited_before = getattr(step, "waited_s", 0.0)
    device.synchronise()
    began = time.perf_counter()
    for done in count(1):
        step()
        if device.place.type == "cuda" and done % 4 == 0:
            device.synchronise()  # Or the host would run ahead of the clock; a look at the losses does the same.
        if time.perf_counter() - began >= turn_s:
            break
    device.synchronise()
    passed = time.perf_counter() - began
    return done * batch / passed, (getattr(step, "waited_s", 0.0) - waited_before) / passed


def measure(resolved: ResolvedRun, device: Device, scale: Scale) -> tuple[dict[str, Turns], Utilisation]:
    """All ways, interleaved."""
    dense = replace(resolved, config=replace(resolved.config, skip_hidden=False))
    ours, masked = Ours(resolved, device), Ours(dense, device)
    ways: dict[str, Callable[[], None]] = {
        _OURS: ours, _DENSE_MASKED: masked, _PUBLISHED: Published(resolved, device), _LIMIT: Limit(resolved, device),
    }  # fmt: skip
    outcome = {name: Turns([], []) for name in ways}
    with closing(ours.stream), closing(masked.stream):
        for step in ways.values():
            step()
        for _ in range(scale.rounds):
            for name, step in ways.items():
                per_s, waiting = turn(step, resolved.config.batch_size, device, scale.turn_s)
                outcome[name].per_s.append(per_s)
                outcome[name].waiting.append(waiting)
    return outcome, ours.step.utilisation(resolved.loader.batch(0))


def show(found: dict[str, Turns], used: Utilisation, device: Device, resolved: ResolvedRun) -> None:
    """A table of who did how many chips a second."""
    config = resolved.config
    print(f"{device.description}; {config.encoder}, batches of {config.batch_size}, {str(device.dtype)[6:]}, "
          f"{'compiled' if device.compiled else 'eager'}; the published path float32, eager")  # fmt: skip
    print(f"{'':28}{'chips/s':>10}{'of the limit':>14}{'range over rounds':>22}{'waiting':>10}")
    for name, turns in found.items():
        share = turns.median_per_s / found[_LIMIT].median_per_s
        spread = f"{min(turns.per_s):.1f} to {max(turns.per_s):.1f}"
        waiting = f"{statistics.median(turns.waiting):.1%}"
        print(f"{name:28}{turns.median_per_s:>10.1f}{share:>14.2f}{spread:>22}{waiting:>10}")
    print(f"ours: {used.flops_per_chip / 1e9:.2f} GFLOP a chip; the device does {used.peak_flops / 1e12:.2f} TFLOP/s "
          "in square matrix products")  # fmt: skip


def result(found: dict[str, Turns], used: Utilisation, device: Device) -> dict[str, float | str]:
    """The figures of the last line."""
    ours = found[_OURS].median_per_s
    return {
        "device": device.description,
        "samples_per_s": round(ours, 1),
        "x_reference": round(ours / found[_PUBLISHED].median_per_s, 2),
        "fraction_of_dense": round(ours / found[_LIMIT].median_per_s, 3),
        "mfu": round(used.at(ours), 4),
        "data_wait_share": round(statistics.median(found[_OURS].waiting), 4),
    }


def main() -> None:
    """Make the data, measure, print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small batches, two short rounds")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--batch", type=int, help="chips a batch")
    parser.add_argument("--encoder", default="atto", choices=tuple(SIZES))
    parser.add_argument("--compile", default="auto", choices=("auto", "on", "off"))
    asked = parser.parse_args()
    config = PretrainConfig(inputs=(INPUT,), device=asked.device, encoder=asked.encoder, compile=asked.compile)
    device = Device.of(config)
    scale = SCALES[device.place.type, asked.quick]
    config = replace(config, batch_size=asked.batch or scale.batch)
    with tempfile.TemporaryDirectory() as folder:
        made_corpus(Path(folder), max(scale.chips, 2 * config.batch_size), os.cpu_count() or 1)
        resolved = resolve_run(Corpus.open(Path(folder)), config)
        outcome, used = measure(resolved, device, scale)
    show(outcome, used, device, resolved)
    print(json.dumps(result(outcome, used, device)))


if __name__ == "__main__":
    main()
