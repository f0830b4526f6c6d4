"""Training on a GPU: speed, waiting for data, and the gap of losses between eager and compiled, bfloat16 and float32.

    python -m benchmarks.gpu [--quick] [--device auto|cpu|cuda] [--minutes N] [--batch N] [--encoder NAME]

MP-MAE on twelve layers, 112 px, patch 16, from shards that it makes itself. Every way trains from the same weights on
the same batches for an equal share of the time (6 minutes, without making the data), and the first of them twice, so
that a gap can be told from what kernels do that add up in no fixed order. It asks nothing, and needs torch and the
packages of the store (README.md beside this file). On a CPU nothing is compiled, which would take minutes. --quick is a
test of the script: a small net, small batches, some steps of each way.

The last line is one JSON object: `device`, `batch`; by way `chips_per_s`, `mfu`, `data_wait_share`, `steps`, and
`loss_first` and `loss_last`, means over the first and the last tenth of its steps; by pair of ways `gap`, over their
common steps: how many, and the relative difference of the losses, mean of the second tenth and of the last.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.made_corpus import INPUT, made_corpus
from pipeline.corpus import Corpus
from training.architecture import SIZES
from training.config import PretrainConfig
from training.data.stream import Stream
from training.pretrain.pretext_net import build_net
from training.pretrain.resolved_run import ResolvedRun, resolve_run
from training.pretrain.step import Step
from training.runtime.device import Device
from training.runtime.distributed_context import DistributedContext

_WARM_STEPS = 200  # of the learning rate
_BF16, _AGAIN, _FLOAT32, _COMPILED = "bf16", "bf16 again", "float32", "bf16 compiled"
WAYS = {
    _BF16: {"precision": "bf16", "compile": "off"},
    _AGAIN: {"precision": "bf16", "compile": "off"},
    _FLOAT32: {"precision": "float32", "compile": "off"},
    _COMPILED: {"precision": "bf16", "compile": "on"},
}
GAPS = {"noise": (_BF16, _AGAIN), "precision": (_BF16, _FLOAT32), "compile": (_BF16, _COMPILED)}


@dataclass(frozen=True)
class Scale:
    """Chips a batch and in the store, seconds of each way, its most steps, and steps between looks at the losses."""

    batch: int
    chips: int
    seconds: float
    most_steps: int = 10**9
    look_every: int = 20


@dataclass
class Trained:
    """What one way did: the loss of every step, and its speed after the first look at them."""

    losses: list[float] = field(default_factory=list)
    chips_per_s: float = 0.0
    data_wait_share: float = 0.0
    mfu: float = 0.0

    def to_dict(self) -> dict[str, float]:
        """Rounded figures."""
        tenths = _tenths(self.losses)
        return {
            "chips_per_s": round(self.chips_per_s, 1), "mfu": round(self.mfu, 4),
            "data_wait_share": round(self.data_wait_share, 4), "steps": len(self.losses),
            "loss_first": round(tenths[0], 4), "loss_last": round(tenths[-1], 4),
        }  # fmt: skip


class Training:
    """A net and its optimiser at the first weights, and the batches."""

    def __init__(self, resolved: ResolvedRun, device: Device, stream: Stream) -> None:
        self._resolved, self._stream = resolved, stream
        self.step = Step(device.adopt(build_net(resolved)), resolved.config, device, DistributedContext())
        self._done = 0

    def take(self, steps: int) -> tuple[list[float], float]:
        """The losses of some more steps, and the seconds that they waited for data."""
        rows, waited_s, config = [], 0.0, self._resolved.config
        for _ in range(steps):
            batch = next(self._stream)
            waited_s += self._stream.wait_s
            self._done += 1
            rate = min(1.0, self._done / _WARM_STEPS) * config.blr * config.batch_size / 256
            rows.append(self.step.take([batch], config.batch_size, rate)[0])
        return torch.stack(rows).tolist(), waited_s


def trained(resolved: ResolvedRun, device: Device, scale: Scale) -> Trained:
    """Train from the first weights for the seconds of the scale, compiling included."""
    result, until, waited_s = Trained(), time.perf_counter() + scale.seconds, 0.0
    with closing(resolved.loader.batches(0, 2**40, device.place)) as stream:
        training = Training(resolved, device, stream)
        result.losses += training.take(scale.look_every)[0]  # Compiles, tries kernels, and opens the shards.
        first, began = len(result.losses), time.perf_counter()
        while len(result.losses) < scale.most_steps and time.perf_counter() < until:
            losses, waiting_s = training.take(scale.look_every)
            result.losses, waited_s = result.losses + losses, waited_s + waiting_s
        passed_s = time.perf_counter() - began
    result.chips_per_s = (len(result.losses) - first) * scale.batch / passed_s
    result.data_wait_share = waited_s / passed_s
    result.mfu = training.step.utilisation(resolved.loader.batch(0)).at(result.chips_per_s)
    return result


def gap(one: Trained, other: Trained) -> dict[str, float]:
    """By how much the losses of `other` are above those of `one`, relative, over the steps that both took."""
    common = min(len(one.losses), len(other.losses))
    first, second = np.array(one.losses[:common]), np.array(other.losses[:common])
    tenths = _tenths((second - first) / np.abs(first))
    return {"steps": common, "early": float(f"{tenths[1]:.3g}"), "late": float(f"{tenths[-1]:.3g}")}


def _tenths(values: Any) -> list[float]:
    """The mean over each tenth."""
    return [float(np.mean(part)) for part in np.array_split(np.asarray(values), min(10, len(values)))]


def scale_of(asked: argparse.Namespace, device: Device, ways: int) -> Scale:
    """The scale of a GPU, a CPU, or a test."""
    if asked.quick:
        return Scale(asked.batch or 2, 32, 600.0, most_steps=6, look_every=2)
    chips, batch = (256, 16) if device.place.type == "cpu" else (4096, 512)
    return Scale(asked.batch or batch, max(chips, 2 * (asked.batch or batch)), asked.minutes * 60 / ways)


def measured(
    corpus: Corpus, config: PretrainConfig, ways: Mapping[str, Any], scale: Scale
) -> Iterator[tuple[str, Trained]]:
    """Each way in turn."""
    for name, settings in ways.items():
        chosen = replace(config, **settings, batch_size=scale.batch)
        yield name, trained(resolve_run(corpus, chosen), Device.of(chosen), scale)


def main() -> None:
    """Make the data, train each way, print a table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a test of the script")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--minutes", type=float, default=6.0, help="of training, all ways together")
    parser.add_argument("--batch", type=int, help="chips a batch")
    parser.add_argument("--encoder", choices=tuple(SIZES), help="atto, and for a test zepto")
    asked = parser.parse_args()
    encoder = asked.encoder or ("zepto" if asked.quick else "atto")
    config = PretrainConfig(inputs=(INPUT,), device=asked.device, encoder=encoder, micro_batch=0)
    device = Device.of(config)
    ways = {name: item for name, item in WAYS.items() if name != _COMPILED or device.place.type == "cuda"}
    scale, found = scale_of(asked, device, len(ways)), dict[str, Trained]()
    print(f"{device.description}; {encoder}, batches of {scale.batch}")
    print(f"{'':16}{'chips/s':>10}{'mfu':>8}{'waiting':>10}{'steps':>8}{'loss, first and last tenth':>30}")
    with tempfile.TemporaryDirectory() as folder:
        made_corpus(Path(folder), scale.chips, os.cpu_count() or 1)
        for name, result in measured(Corpus.open(Path(folder)), config, ways, scale):
            found[name], row = result, result.to_dict()
            print(f"{name:16}{row['chips_per_s']:>10}{row['mfu']:>8.3f}{row['data_wait_share']:>10.1%}{row['steps']:>8}"
                  f"{row['loss_first']:>22}{row['loss_last']:>8}", flush=True)  # fmt: skip
    gaps = {name: gap(found[one], found[other]) for name, (one, other) in GAPS.items() if other in found}
    ways_found = {name: item.to_dict() for name, item in found.items()}
    print(json.dumps({"device": device.description, "batch": scale.batch, "ways": ways_found, "gap": gaps}))


if __name__ == "__main__":
    main()
