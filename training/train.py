"""Pretraining: one loop over steps, resumed exactly from the newest checkpoint by calling it again."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from pipeline import durable
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.progress import Progress, Silent
from training.checkpoint import Checkpoints
from training.config import PretrainConfig
from training.data import Batch
from training.history import LossHistory
from training.mpmae import MPMAE, Objective
from training.plan import Plan, make_plan

RUN = "run.json"
CHECKPOINTS = "checkpoints"
TENSORBOARD = "tensorboard"
_BLR_BATCH = 256  # The batch that a base learning rate is meant for (Goyal et al. 2017).


@dataclass(frozen=True)
class PretrainResult:
    """Losses are unweighted means per target over the first and last steps (at most 20 each), of those targets that
    had data. `samples_per_s` is of this call; 0 where nothing was left to do.
    """

    steps: int
    first_losses: Mapping[str, float]
    last_losses: Mapping[str, float]
    checkpoint: Path
    samples_per_s: float


def pretrain(
    corpus_folder: Path, config: PretrainConfig, run_folder: Path, progress: Progress | None = None
) -> PretrainResult:
    """Train MP-MAE on the train rows of a corpus, or go on where an earlier call of the same was stopped.

    Writes `run.json`, `checkpoints/` and `tensorboard/` below `run_folder`. However often it is stopped, the weights
    come out bit-identical on a CPU with one number of threads. Raises `Fatal` for settings that do not fit the
    corpus, a checkpoint that is damaged or belongs to another run, or a loss that is not a number.
    """
    plan = make_plan(Corpus.open(corpus_folder), config)
    durable.sweep(run_folder)
    with _threads(config.threads):
        trainer = Trainer(plan, run_folder)
        durable.write_json(run_folder / RUN, plan.identity | _facts(plan))
        return trainer.run(progress or Silent())


class Trainer:
    """A model, its optimiser and the number of steps they have seen, bound to a run folder."""

    def __init__(self, plan: Plan, run_folder: Path) -> None:
        self.plan, self.run_folder, self.step = plan, run_folder, 0
        config = plan.config
        self.device = _device(config.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            model = MPMAE(plan.inputs, plan.targets, config)
        self.model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = torch.optim.AdamW(_parameter_groups(self.model, config.weight_decay), betas=config.betas)
        self.names = [layer.name for layer in plan.targets]
        self.history = LossHistory.of(self.names, plan.steps)
        self.checkpoints = Checkpoints(run_folder / CHECKPOINTS, plan.identity, config.checkpoints_kept)
        self._restore()

    def _restore(self) -> None:
        found = self.checkpoints.load_latest()
        if found is None:
            return
        self.step, state = found
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.history.restore(state["history"])
        torch.set_rng_state(state["rng"])

    def _save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "history": self.history.state(),
            "rng": torch.get_rng_state(),
        }
        self.checkpoints.save(self.step, state)

    def run(self, progress: Progress) -> PretrainResult:
        """Take the remaining steps."""
        progress.start("pretrain", self.plan.steps, self.step)
        clock = Clock(self.plan.feed.batch_size)
        log = SummaryWriter(str(self.run_folder / TENSORBOARD), purge_step=self.step + 1)
        with log as board, closing(self.plan.feed.batches(self.step, self.plan.steps)) as batches:
            for batch in batches:
                figures = self._take_step(batch)
                clock.tick()
                self._report(board, progress, figures | {"samples_per_s": clock.samples_per_s})
                if self.step % self.plan.config.checkpoint_every == 0 or self.step == self.plan.steps:
                    board.flush()  # First, so that a resumed run's log has no gap.
                    self._save()
                progress.advance()
        return self._result(clock)

    def _take_step(self, batch: Batch) -> dict[str, float]:
        """One update; returns the figures to log. Refuses to touch the weights with anything that is no number."""
        config = self.plan.config
        rate = learning_rate(self.step, self.plan.steps, config, self.plan.feed.batch_size)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            objective = self.model.objective(batch.to(self.device))
        losses = self._checked(objective, batch)
        self.optimiser.zero_grad(set_to_none=True)
        objective.total.backward()
        norm = float(nn.utils.get_total_norm([one.grad for one in self.model.parameters() if one.grad is not None]))
        if not math.isfinite(norm):
            raise Fatal(f"the gradients are not finite at step {self.step}; lower pretrain.blr and start afresh.")
        self.optimiser.step()
        self.step += 1
        self.history.add(losses, objective.active.tolist())
        return self._figures(objective, losses) | {"lr": rate, "gradient_norm": norm}

    def _checked(self, objective: Objective, batch: Batch) -> list[float]:
        losses: list[float] = objective.losses.detach().tolist()
        for name, values in batch.values.items():
            if not math.isfinite(sum(losses)) and not bool(torch.isfinite(values).all()):
                raise Fatal(f"modality {name!r} holds values that are no numbers; mark them as nodata in the corpus.")
        for name, loss in zip(self.names, losses, strict=True):
            if not math.isfinite(loss):
                raise Fatal(f"the loss of {name!r} is {loss} at step {self.step}; lower pretrain.blr and start afresh.")
        return losses

    def _figures(self, objective: Objective, losses: Sequence[float]) -> dict[str, float]:
        active = objective.active.tolist()
        figures = {"loss": float(objective.total.detach())}
        parts = zip(self.names, losses, active, strict=True)
        figures |= {f"loss/{name}": loss for name, loss, counts in parts if counts}
        if self.model.log_variances is not None:
            spread = self.model.log_variances.detach().tolist()
            figures |= {f"log_variance/{name}": one for name, one in zip(self.names, spread, strict=True)}
        return figures

    def _report(self, board: SummaryWriter, progress: Progress, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            board.add_scalar(name, value, self.step)
        progress.note(**{name: figures[name] for name in ("loss", "lr", "samples_per_s")})

    def _result(self, clock: Clock) -> PretrainResult:
        history, path = self.history, self.checkpoints.path(self.step)
        return PretrainResult(
            self.step, history.means(history.first), history.means(history.last), path, clock.samples_per_s
        )


class Clock:
    """Samples per second since the first step of this call, which also pays for start-up and does not count."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size, self._ticks, self._began = batch_size, 0, time.perf_counter()

    def tick(self) -> None:
        """A step is over."""
        self._ticks += 1
        if self._ticks == 1:
            self._first = time.perf_counter()

    @property
    def samples_per_s(self) -> float:
        """0 before the first step; the only step's own speed after one."""
        began, ticks = (self._first, self._ticks - 1) if self._ticks > 1 else (self._began, self._ticks)
        return ticks * self._batch_size / (time.perf_counter() - began)


def learning_rate(step: int, steps: int, config: PretrainConfig, batch_size: int) -> float:
    """Linear warm-up, then half a cosine to 0, per step; the peak is `blr` * batch / 256."""
    peak = config.blr * batch_size / _BLR_BATCH
    warm = int(config.warmup * steps)
    if step < warm:
        return peak * (step + 1) / warm
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))


def _parameter_groups(model: MPMAE, weight_decay: float) -> list[dict[str, Any]]:
    """Only matrices and kernels decay; not biases, norms, response norms, the mask token or the log variances."""
    decaying = {id(part.weight) for part in model.modules() if isinstance(part, nn.Conv2d | nn.Linear)}
    parameters = list(model.parameters())
    return [
        {"params": [one for one in parameters if id(one) in decaying], "weight_decay": weight_decay},
        {"params": [one for one in parameters if id(one) not in decaying], "weight_decay": 0.0},
    ]


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise Fatal("pretrain.device is cuda, but torch finds no GPU here; use auto or cpu.")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _facts(plan: Plan) -> dict[str, Any]:
    versions = {name: version(name) for name in ("torch", "numpy", "geocorpus")}
    return {
        "steps": plan.steps, "steps_per_epoch": plan.feed.steps_per_epoch, "train_rows": len(plan.feed.rows),
        "versions": {"python": platform.python_version(), **versions},
    }  # fmt: skip
