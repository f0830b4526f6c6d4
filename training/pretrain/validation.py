"""When and how a run looks at val chips: their losses, and what the features tell of a label."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline import durable
from pipeline.errors import Fatal
from training.pretext import Pretext
from training.pretrain.held_out import HeldOut
from training.pretrain.monitor import Monitor
from training.pretrain.moving_average import MovingAverage
from training.pretrain.pretext_net import build_net
from training.pretrain.resolved_run import ResolvedRun
from training.pretrain.val_rows import spread, val_rows
from training.runtime.device import Device
from training.runtime.distributed_context import DistributedContext

VALIDATION = "validation.json"  # in the folder of a run
_PASSES = 3  # of a training step: forward, and a backward pass of twice its operations
_MOST_COST = 0.02  # of the operations of a run, where `val_every` is "auto"


@dataclass(frozen=True)
class Validated:
    """After `step` steps, on val chips: the `loss` that is minimised, its unweighted `losses`, and other `scores`.

    Losses that counted nothing are left out. Scores of the monitor begin with "monitor/".
    """

    step: int
    loss: float
    losses: Mapping[str, float]
    scores: Mapping[str, float]

    def named(self) -> dict[str, float]:
        """All numbers by their names in the log, those that are none left out."""
        losses = {f"val/loss/{name}": loss for name, loss in self.losses.items()}
        every = {"val/loss": self.loss, **losses, **self.scores}
        return {name: value for name, value in every.items() if math.isfinite(value)}


@dataclass
class Validations:
    """All of a run so far, oldest first; a part of every checkpoint."""

    all: list[Validated] = field(default_factory=list)

    def has(self, step: int) -> bool:
        """Whether the weights after `step` steps were looked at."""
        return any(item.step == step for item in self.all)

    def state(self) -> dict[str, str]:
        """For a checkpoint, as JSON, so that the same content is the same bytes; nothing where there was none."""
        return {"validations": json.dumps([asdict(item) for item in self.all])} if self.all else {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from the `state` of a checkpoint; older ones have none."""
        self.all = [Validated(**item) for item in json.loads(state.get("validations", "[]"))]

    def write(self, folder: Path) -> None:
        """Write `validation.json`: for each of them its step and what its names in the log say."""
        durable.write_json(folder / VALIDATION, [{"step": item.step, **item.named()} for item in self.all])


class Validation:
    """The val chips of a run, and when it looks at them; `chips` is their number, 0 where it never does.

    It computes with a net of its own, so that nothing of the run's changes. Raises `Fatal` where val chips are asked
    for and there are none, and for a monitor that has nothing to say.
    """

    def __init__(self, resolved: ResolvedRun, device: Device, context: DistributedContext) -> None:
        config = resolved.config
        rows = spread(val_rows(resolved), config.val_chips) if config.val_every != 0 else resolved.loader.rows[:0]
        _refuse_absent(resolved, len(rows))
        self._resolved, self._device, self.chips = resolved, device, len(rows)
        self._held_out = HeldOut(resolved, rows, device, context)
        train = spread(resolved.loader.rows, config.monitor_chips) if config.monitor else rows[:0]
        self._monitor = Monitor(resolved, train, rows, device, context) if config.monitor else None
        self._every = interval(resolved, len(rows) + (len(train) + len(rows)) * bool(config.monitor))
        self._net: Pretext | None = None

    def is_due(self, step: int) -> bool:
        """Whether to look at the weights after `step` steps: at the start, in its turn, and at the end."""
        return bool(self.chips) and (step % self._every == 0 or step == self._resolved.steps)

    def of(self, weights: MovingAverage, step: int) -> Validated:
        """What the weights are worth with which the run would end now; the same in all processes."""
        if self._net is None:
            self._net = self._device.adopt(build_net(self._resolved))
        weights.put_into(self._net)
        held_out = self._held_out.losses(self._net)
        losses = zip(self._net.loss_names, held_out.objective.losses.tolist(), held_out.objective.active.tolist(),
                     strict=True)  # fmt: skip
        scores = {f"val/{name}": value for name, value in held_out.scores.items()}
        watched = self._monitor.scores(self._net) if self._monitor else {}
        scores |= {f"monitor/{name}": value for name, value in watched.items()}
        named = {name: loss for name, loss, counts in losses if counts}
        return Validated(step, float(held_out.objective.total), named, scores)


def interval(resolved: ResolvedRun, chips: int) -> int:
    """The number of steps from one look at `chips` chips to the next.

    With `val_every = "auto"` an epoch, or as many as keep the operations below 2 % of those of the steps between.
    """
    config, loader = resolved.config, resolved.loader
    if isinstance(config.val_every, int):
        return max(1, config.val_every)
    of_an_epoch = _PASSES * loader.steps_per_epoch * loader.batch_size
    return max(1, math.ceil(chips / (_MOST_COST * of_an_epoch))) * loader.steps_per_epoch


def _refuse_absent(resolved: ResolvedRun, chips: int) -> None:
    config = resolved.config
    if config.monitor and config.val_every == 0:
        raise Fatal('pretrain.monitor looks at val chips, and pretrain.val_every is 0; set it to "auto" or to steps.')
    if not chips and (config.monitor or config.val_every not in ("auto", 0)):
        asked = "monitor" if config.monitor else "val_every"
        raise Fatal(
            f"pretrain.{asked} looks at val chips, and {resolved.corpus.folder} has none that are finished; leave it "
            "out, or change the splits of the corpus."
        )
