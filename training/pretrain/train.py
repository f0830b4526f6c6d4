"""Pretraining: one loop over steps; calling it again resumes exactly from the newest checkpoint."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline import durable
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.lock import locked, token_of
from pipeline.progress import Progress, Silent
from pipeline.stopping import deferring
from training.batch import Batch
from training.config import PretrainConfig
from training.data.joined_corpus import joined
from training.data.outside import warnings_of
from training.data.stream import Stream
from training.pretrain import non_finite
from training.pretrain.exports import files_of, save_encoders
from training.pretrain.history import LossHistory
from training.pretrain.metric_buffer import MetricBuffer, StepMetrics
from training.pretrain.model_card import CARD, write_card
from training.pretrain.moving_average import MovingAverage
from training.pretrain.picture_log import PictureLog
from training.pretrain.pretext_net import build_net
from training.pretrain.random_draws import Division, RandomDraws
from training.pretrain.resolved_run import ResolvedRun, resolve_again, resolve_run
from training.pretrain.result import PretrainResult
from training.pretrain.run_lock import held, held_by_parent
from training.pretrain.skipped_steps import SkippedStep, SkippedSteps, kept_in
from training.pretrain.step import Step
from training.pretrain.validation import Validation, Validations
from training.pretrain.warm_start import warm_start
from training.rank_slice import RankSlice
from training.runtime import launch, metric_writer
from training.runtime.device import Device, threads
from training.runtime.distributed_context import DistributedContext
from training.runtime.flops import Utilisation
from training.runtime.memory import lowering
from training.runtime.metric_writer import MetricWriter
from training.runtime.provenance import provenance
from training.runtime.throughput import ThroughputMeter
from training.schedule import BLR_BATCH, rate_at
from training.weights.checkpoint import CHECKPOINTS, Checkpoints, read, step_of

RUN = "run.json"
LOGS = "logs"  # what each of several processes printed
_LESS_MODEL = "lower pretrain.micro_batch, or take a smaller pretrain.encoder"
_LESS_DATA = "lower pretrain.read_ahead_gb, pretrain.read_ahead or pretrain.batch_size"


def pretrain(
    corpus_folder: Path, config: PretrainConfig, run_folder: Path, progress: Progress | None = None
) -> PretrainResult:
    """Train on the train rows of a corpus by the configured method, or resume an earlier call of the same arguments.

    Writes `run.json`, `checkpoints/`, `tensorboard/`, `pictures/`, `validation.json` and, at the end,
    `encoder.safetensors` and `model_card.md` in `run_folder`. On a CPU, with the same number of threads and processes,
    the weights are bit-identical however often it is stopped. A signal is obeyed after the running step, whose
    checkpoint is written first. It starts `config.processes` processes, unless it runs in a process that `torchrun`
    started. Raises `Fatal` for settings that do not fit the corpus, checkpoints that are all damaged or belong to
    another run, a run that another process trains, losses that stay non-finite, or too little memory; `Transient` when
    a started process was killed.
    """
    metric_writer.refuse_absent(config.wandb)
    told = progress or Silent()
    if config.processes == 1 or launch.started():
        return _train(corpus_folder, config, run_folder, "", told)
    with locked(run_folder, told.say):
        arguments = (corpus_folder, config, run_folder, token_of(run_folder))
        return launch.together(_train, arguments, config.processes, told, run_folder / LOGS)


def _train(
    corpus_folder: Path, config: PretrainConfig, run_folder: Path, token: str, progress: Progress
) -> PretrainResult:
    """`pretrain` in this process, alone or as one of several; `token` is of the lock that its parent holds, if any."""
    context = DistributedContext.from_environment()
    told, device = progress if context.first else Silent(), Device.of(config, context.local_rank)
    with threads(config.threads, context.local_world_size), context.joined(device.place), lowering(_LESS_MODEL):
        corpus = _opened(corpus_folder, config)
        # Before the run's files are read: those of a run under way would be older than what it still writes.
        with held_by_parent(run_folder, token) if token else held(run_folder, context, told.say):
            resolved = _resolved(corpus, config, run_folder / RUN)
            return Trainer(resolved, run_folder, device, context).run(told)


def _opened(folder: Path, config: PretrainConfig) -> Corpus:
    """The corpus in `folder`, joined with those of `config.also`."""
    return joined([Corpus.open(path) for path in (folder, *map(Path, config.also))])


def _resolved(corpus: Corpus, config: PretrainConfig, path: Path) -> ResolvedRun:
    """A new run, or the one whose `run.json` is at `path`, with the shards and the state of the corpus of then."""
    if not path.exists():
        return resolve_run(corpus, config)
    return resolve_again(corpus, config, _begun(path))


def _begun(path: Path) -> Mapping[str, Any]:
    """The content of `run.json`; raises `Fatal` for a damaged one."""
    remedy = "restore it from a copy, or give another pretrain.run"
    durable.read_as(path, _Run, remedy)
    return durable.read_object(path, remedy)


@dataclass(frozen=True)
class _Run:
    """What a relaunch needs of `run.json`."""

    corpus: str
    shards: tuple[int, ...]


class Trainer:
    """A model, its optimiser and the number of steps taken, with a run folder.

    Restores the newest checkpoint. Raises `Fatal` for a batch smaller than the number of processes, and for checkpoints
    that are all damaged or belong to another run.
    """

    def __init__(
        self,
        resolved: ResolvedRun,
        run_folder: Path,
        device: Device | None = None,
        context: DistributedContext | None = None,
    ) -> None:
        config = resolved.config
        self.resolved, self.run_folder, self.step = resolved, run_folder, 0
        self.context, self.device = context or DistributedContext(), device or Device.of(config)
        if resolved.loader.batch_size < self.context.count:
            raise Fatal(
                f"a batch of {resolved.loader.batch_size} chips is too small for {self.context.count} processes."
            )
        self.model = self.device.adopt(build_net(resolved))
        self.stepper = Step(self.model, config, self.device, self.context)
        self.average = MovingAverage(self.model, config.ema)
        self.names = self.model.loss_names
        self.history = LossHistory.of(self.names, resolved.steps)
        self.skipped = SkippedSteps()
        self.draws = RandomDraws(self._division())
        self.metrics = MetricBuffer(len(self.names), self.context)
        self.validation, self.validations = Validation(resolved, self.device, self.context), Validations()
        self._utilisation: Utilisation | None = None
        checkpoints = Checkpoints(
            run_folder / CHECKPOINTS, resolved.identity, config.checkpoints_kept, config.keep_every
        )
        self.began_with = ""
        self.checkpoints, self.damaged = checkpoints, self._restore(checkpoints)

    def _restore(self, checkpoints: Checkpoints) -> tuple[Path, ...]:
        """Restore the newest checkpoint that is whole; returns newer ones, which are damaged."""
        path, damaged = self.context.broadcast(checkpoints.latest() if self.context.first else None)
        if path is not None:
            state = read(path)
            self.step, self.began_with = step_of(path), state.get("began_with", "")
            self.model.load_state_dict(state["model"])
            self.stepper.optimiser.load_state_dict(state["optimiser"])
            self.history.restore(state["history"])
            torch.set_rng_state(state["rng"])
            self.skipped.restore(state.get("skipped", ()))  # older checkpoints have none
            self.stepper.go_on_after(self.skipped.in_a_row(self.step))
            self.average.restore(state)
            self.validations.restore(state)
            self.draws.restore(state.get("draws", {}), str(self.run_folder))
        else:
            self.began_with = warm_start(self.model, self.resolved)
            self.average.begin()
        return tuple(damaged)

    def _division(self) -> Division:
        parts = self._rank_slice(self.context).micro_batches
        return Division(self.context.count, parts, self.device.place.type, self.device.compiled)

    def _save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimiser": self.stepper.optimiser.state_dict(),
            "history": self.history.state(),
            "rng": torch.get_rng_state(),
            "skipped": self.skipped.state(),
            "draws": self.draws.state(),
            "began_with": self.began_with,
            **self.average.state(),
            **self.validations.state(),
        }
        self.checkpoints.save(self.step, state, asdict(self.resolved.loader.position(self.step)))

    def run(self, progress: Progress) -> PretrainResult:
        """Take the remaining steps. Raises `Fatal` for losses that stay non-finite, or too little memory."""
        meter, config, began = ThroughputMeter(self.resolved.loader.batch_size), self.resolved.config, self.step
        pictures = PictureLog(self.resolved, self.run_folder)
        progress.start("pretrain", self.resolved.steps, self.step)
        with deferring() as stop, self._writer(progress) as writer, closing(self._batches()) as batches:
            if self.step < self.resolved.steps and self._validated_when_due(meter):
                self._write_validation(writer)
            for parts, waited_s in batches:
                self._take_step(parts)
                meter.update(waited_s)
                ending = self.context.any(stop.asked)
                validated = not ending and self._validated_when_due(meter)  # Else the relaunch does, at its start.
                at_the_end = self.step == self.resolved.steps
                save = self.step % config.checkpoint_every == 0 or at_the_end or ending
                if save or validated or self.step % config.log_every == 0 or self.step == began + 1:
                    self._log(parts, meter, writer, progress)
                if validated:
                    self._write_validation(writer)
                if self.context.first:
                    pictures.draw_when_due(self.model, self.device, self.step, writer)
                if save and self.context.first:
                    writer.flush()  # Before the checkpoint, so that the log of a resumed run has no gap.
                    self._save()
                progress.advance()
                if ending:
                    stop.ask()  # Perhaps only another process was told.
                    self.context.barrier()  # The first process to leave ends the others, and one of them saves.
                    break
        return self._result(meter)

    def _validated_when_due(self, meter: ThroughputMeter) -> bool:
        """Look at the val chips now, if that is due and was not done for these weights; returns whether it was."""
        if not self.validation.is_due(self.step) or self.validations.has(self.step):
            return False
        with meter.paused():
            self.validations.all.append(self.validation.of(self.average, self.step))
        return True

    def _write_validation(self, writer: MetricWriter) -> None:
        """Log the newest look at the val chips; after the metrics of steps, as some logs take no earlier step later."""
        if self.context.first:
            writer.add(self.step, self.validations.all[-1].named())
            self.validations.write(self.run_folder)

    @contextmanager
    def _writer(self, progress: Progress) -> Iterator[MetricWriter]:
        """The metric writer; before the first step, the first process writes `run.json`."""
        if not self.context.first:
            yield MetricWriter()
            return
        resolved, config = self.resolved, self.resolved.config
        durable.sweep(self.run_folder)
        durable.write_json(
            self.run_folder / RUN,
            resolved.identity | resolved.facts | provenance(self.device, self.context) | self._beginning(),
        )
        if self.began_with and not self.step:
            progress.say(f"This run {self.began_with}.")
        for path in self.damaged:
            progress.say(f"Checkpoint {path} is damaged; going on from step {self.step} instead.")
        for sentence in warnings_of(resolved.corpus, resolved.layers):
            progress.say(sentence)
        with metric_writer.opened(self.run_folder, self.step, config.wandb, config.to_dict()) as writer:
            yield writer

    def _beginning(self) -> dict[str, str]:
        return {"began_with": self.began_with} if self.began_with else {}

    def _batches(self) -> Generator[tuple[list[Batch], float]]:
        """For every remaining step, this process's part of the batch and the time waited for it, in seconds."""
        rank_slice = self._rank_slice(self.context)
        with lowering(_LESS_DATA), self._stream(self.step, self.resolved.steps, rank_slice) as stream:
            for _ in range(self.step, self.resolved.steps):
                received = [(next(stream), stream.wait_s) for _ in range(rank_slice.micro_batches)]
                yield [part for part, _ in received], sum(waited_s for _, waited_s in received)

    def _rank_slice(self, context: DistributedContext) -> RankSlice:
        return context.rank_slice(self.resolved.loader.batch_size, self.resolved.config.micro_batch)

    def _stream(self, first: int, stop: int, rank_slice: RankSlice) -> closing[Stream]:
        return closing(self.resolved.loader.batches(first, stop, self.device.place, rank_slice))

    def _rate(self, step: int) -> float:
        return learning_rate(step, self.resolved.steps, self.resolved.config, self.resolved.loader.batch_size)

    def _take_step(self, parts: Sequence[Batch]) -> None:
        """One update; its metrics stay on the device. What the net draws at random is that of this step."""
        torch.manual_seed(_seed_at(self.step, self.resolved.config.seed, self.context.rank))
        with self.draws.watched():
            row = self.stepper.take(parts, self.resolved.loader.batch_size, self._rate(self.step))
        self.metrics.add(row)
        self.step += 1
        self.average.update(self.step)

    def _log(self, parts: Sequence[Batch], meter: ThroughputMeter, writer: MetricWriter, progress: Progress) -> None:
        """Fetch, check and log the metrics of the steps since the last call."""
        metrics = self.metrics.fetch(self.step)
        throughput = meter.read()
        taken = max((item.step for item in metrics if item.finite), default=0)
        for item in metrics:
            self._log_step(item, taken, writer, progress)
        if self.context.first:
            speed = {"samples_per_s": throughput.samples_per_s, "data_wait_share": throughput.data_wait_share}
            speed["mfu"] = self.utilisation(parts[0]).at(throughput.samples_per_s / self.context.count)
            writer.add(self.step, speed)
            shown = self._last_named(metrics) | {"lr": self._rate(self.step - 1)} | speed
            progress.note(**_shown(shown), **_validated(self.validations),
                          parameters=sum(item.numel() for item in self.model.parameters()),
                          eta=meter.left(self.resolved.steps - self.step))  # fmt: skip

    def _named(self, metrics: StepMetrics) -> dict[str, float]:
        return metrics.named(self.names, self.model.figure_names)

    def utilisation(self, example: Batch) -> Utilisation:
        """The utilisation of the device; counted and measured once, on chips like those of `example`."""
        if self._utilisation is None:
            self._utilisation = self.stepper.utilisation(example, self.resolved.config.peak_tflops)
        return self._utilisation

    def _log_step(self, item: StepMetrics, taken: int, writer: MetricWriter, progress: Progress) -> None:
        if not item.finite:
            self._record_skipped(item.step, taken, writer, progress)
            return
        self.history.add(item.losses, item.active)
        writer.add(item.step, self._named(item) | {"lr": self._rate(item.step - 1)})

    def _last_named(self, metrics: Sequence[StepMetrics]) -> dict[str, float]:
        """The named metrics of the last step that was taken; none where there is no such step."""
        return next((self._named(item) for item in reversed(metrics) if item.finite), {})

    def _record_skipped(self, step: int, taken: int, writer: MetricWriter, progress: Progress) -> None:
        """Record and say what was skipped; raises `Fatal` when it is the last of too many in a row.

        The weights are those after step `taken`, the last that changed them.
        """
        report, path, remedy = self.context.broadcast(self._examined(step, taken) if self.context.first else None)
        self.skipped.add(report)
        in_a_row, limit = self.skipped.in_a_row(step), self.resolved.config.bad_steps
        if in_a_row >= limit:
            count = f", the last of {limit} in a row that were not finite" if limit > 1 else ""
            raise Fatal(f"at step {step}{count}, {report.cause}; {remedy}; {kept_in(path)}.")
        sentence = f"Skipped {report.where}, as {report.cause}; {kept_in(path)}."
        progress.say(sentence)
        writer.tell(step, "skipped", sentence)
        writer.add(step, {"skipped_steps": len(self.skipped.steps)})

    def _examined(self, step: int, taken: int) -> tuple[SkippedStep, Path | None, str]:
        """Repeat a skipped step part by part: what is recorded of it, the file of its chips, and what helps."""
        resolved = self.resolved
        parts = self._rank_slice(DistributedContext()).slices(resolved.loader.batch_size)
        raws = (resolved.loader.raw(step - 1, part) for part in parts)
        report = non_finite.find(self.stepper, raws, resolved.layers, self.device.place)
        report = report.seen_after(taken) if taken > step else report
        name = self.skipped.file_of(step)
        path = report.save(self.run_folder / name) if name else None
        return SkippedStep(step, report.rows, report.what), path, report.remedy

    def _refuse_untrained(self) -> None:
        """Raise `Fatal` where no step changed a weight: a run of few steps can end before `bad_steps` stop it."""
        skipped = self.skipped.steps
        if skipped and len(skipped) == self.step:
            raise Fatal(
                f"none of the {self.step} steps changed a weight, the last because {skipped[-1].cause}; no encoder is "
                "written: mend that, and start a run of another name (pretrain.run)."
            )

    def _result(self, meter: ThroughputMeter) -> PretrainResult:
        self._refuse_untrained()
        history, path = self.history, self.checkpoints.path(self.step)
        files, means = files_of(self.run_folder, self.resolved, self.model), self.resolved.method.losses_mean
        result = PretrainResult(
            self.step, history.means(history.first), history.means(history.last), path, files[0], meter.samples_per_s,
            tuple(self.skipped.steps), tuple(self.validations.all), self.validation.chips,
            means(self.resolved.config) if means else "", files,
        )  # fmt: skip
        if self.context.first:
            save_encoders(self.run_folder, self.resolved, self.average.net(), path)
            write_card(self.run_folder / CARD, self.resolved, durable.read_json(self.run_folder / RUN), result)
        return result


def _seed_at(step: int, seed: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0])


def _shown(metrics: Mapping[str, float]) -> dict[str, float | str]:
    """The total and the speed first, then the loss of each modality."""
    shown: dict[str, float | str] = {"loss": "nan"}  # where all were skipped; as text, for JSON has no such number
    shown |= {name: metrics[name] for name in ("loss", "lr", "samples_per_s") if name in metrics}
    shown |= {name: f"{metrics[name]:.1%}" for name in ("data_wait_share", "mfu")}
    return shown | {name.replace("/", "_"): value for name, value in metrics.items() if name.startswith("loss/")}


def _validated(validations: Validations) -> dict[str, float]:
    """The newest loss and scores on val chips."""
    newest = validations.all[-1].named() if validations.all else {}
    return {name.replace("/", "_"): value for name, value in newest.items() if not name.startswith("val/loss/")}


def learning_rate(step: int, steps: int, config: PretrainConfig, batch_size: int) -> float:
    """The learning rate of a step, see `schedule`; the peak is `blr` * `batch_size` / 256."""
    return rate_at(step, steps, int(config.warmup * steps), config.blr * batch_size / BLR_BATCH)
