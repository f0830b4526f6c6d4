"""Adapts an encoder to labelled images, of images or of pixels; the encoder may be frozen for some epochs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim.lr_scheduler import LambdaLR

from pipeline.errors import Fatal
from pipeline.progress import Progress, Silent
from training.evaluate.decay import parameter_groups
from training.evaluate.finetuned import Finetuned
from training.evaluate.fit import fit_sentence, fitted, unfitted
from training.evaluate.recipe import Recipe
from training.evaluate.sample_source import SampleSource, batches_of
from training.evaluate.samples import Samples
from training.evaluate.tasks.label_task import LabelTask, is_dense
from training.model.classifier import Classifier
from training.model.encoder import Encoder
from training.model.unet import UNet
from training.schedule import BLR_BATCH, rate_at
from training.weights.pretrained import Pretrained


def finetune(
    pretrained: Pretrained, train: SampleSource, recipe: Recipe, progress: Progress | None = None
) -> Finetuned:
    """A model for the labels of `train`, initialised from `pretrained`, which is not changed.

    Labels per image give a classifier or a regression, labels per pixel a UNet. Images whose edges are no multiple of
    the patch are fitted as the recipe says, which is said once. On a CPU with the same number of threads, the same
    arguments give the same model. Raises `Fatal` for images that do not fit the encoder, samples without any label, or
    a non-finite loss.
    """
    encoder, progress = pretrained.convnext("fine-tuning"), progress or Silent()
    first = train.of(np.arange(1))
    _say_fit(encoder, first, recipe, progress)
    task = train.task.fitted(train.of(rows).labels for rows in batches_of(train, recipe.batch_size))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = _initial_model(encoder, is_dense(first.labels), len(task.names), recipe)
        losses = Tuning(model, pretrained, train, recipe, task).run(progress)
    return Finetuned(
        model.eval(), pretrained.normalisation, task.names, tuple(losses), pretrained.facts, train.legend, task,
        recipe.fit, _size(first),
    )  # fmt: skip


def _size(samples: Samples) -> tuple[int, int]:
    """Of the images, which all layers have."""
    height, width = next(iter(samples.stored.values())).shape[-2:]
    return int(height), int(width)


def _say_fit(encoder: Encoder, first: Samples, recipe: Recipe, progress: Progress) -> None:
    for name, images in first.stored.items():
        height, width = images.shape[-2:]
        if not height * width:
            raise Fatal(f"images of {name!r} have {height} x {width} px; give some with pixels.")
        said = fit_sentence((height, width), encoder.patch_px, recipe.fit)
        if said:
            progress.say(f"{said}.")
            return


def _initial_model(encoder: Encoder, dense: bool, width: int, recipe: Recipe) -> Classifier | UNet:
    fresh = Encoder.of(encoder.architecture, recipe.drop_path)
    fresh.load_state_dict(deepcopy(encoder.state_dict()))
    return (UNet if dense else Classifier)(fresh, width).to(_device(recipe.device))


@dataclass
class Tuning:
    """Fine-tuning of a model on samples by a recipe."""

    model: Classifier | UNet
    pretrained: Pretrained
    train: SampleSource
    recipe: Recipe
    task: LabelTask
    labelled: bool = False

    def run(self, progress: Progress) -> list[float]:
        """Train all epochs; returns the mean loss of each.

        Raises `Fatal` for a non-finite loss, and after the first epoch where no sample has a label.
        """
        recipe, size = self.recipe, len(self.train)
        steps = math.ceil(size / recipe.batch_size) * recipe.epochs
        optimiser, schedule = self._optimiser(steps)
        progress.start("finetune", recipe.epochs)
        losses = []
        for epoch in range(recipe.epochs):
            self.set_trainable(epoch >= round(recipe.frozen * recipe.epochs))
            result = [self._step(rows, optimiser, schedule) for rows in self._batches(epoch)]
            losses.append(float(np.mean(result)))
            if not self.labelled:
                raise Fatal("none of the samples has a label; there is nothing to learn.")
            if not math.isfinite(losses[-1]):
                raise Fatal(f"the loss is {losses[-1]} in epoch {epoch}; lower finetune.blr.")
            progress.advance()
            progress.note(loss=losses[-1])
        return losses

    def _optimiser(self, steps: int) -> tuple[torch.optim.Optimizer, LambdaLR]:
        recipe = self.recipe
        rate = recipe.blr * min(recipe.batch_size, len(self.train)) / BLR_BATCH
        depths = self.model.encoder.architecture.size.depths
        groups = parameter_groups(self.model, depths, rate, recipe.layer_decay, recipe.weight_decay)
        optimiser = torch.optim.AdamW(groups, betas=recipe.betas)
        warm = int(recipe.warmup * steps)
        return optimiser, LambdaLR(optimiser, lambda step: rate_at(step, steps, warm))

    def set_trainable(self, learns: bool) -> None:
        """Freeze or unfreeze the encoder; a frozen one has no gradients and no stochastic depth."""
        self.model.train()
        self.model.encoder.train(learns)
        self.model.encoder.requires_grad_(learns)
        if isinstance(self.model, Classifier) and self.recipe.frozen == 1:
            self.model.norm.requires_grad_(False)  # A linear probe keeps its initial norm.

    def _batches(self, epoch: int) -> Iterator[NDArray[np.int64]]:
        order = np.random.default_rng([self.recipe.seed, epoch]).permutation(len(self.train))
        yield from np.split(order, range(self.recipe.batch_size, len(order), self.recipe.batch_size))

    def _step(self, rows: NDArray[np.int64], optimiser: torch.optim.Optimizer, schedule: LambdaLR) -> float:
        part, device = self.train.of(rows), next(self.model.parameters()).device
        self.labelled = self.labelled or self.task.known(part.labels)
        image = self.pretrained.normalisation.image(part.stored, part.groups).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            outputs = self.model(fitted(image, self.model.encoder.patch_px, self.recipe.fit)).float()
        if is_dense(part.labels):
            outputs = unfitted(outputs, (image.shape[-2], image.shape[-1]), self.recipe.fit)
        loss = self.task.loss(outputs, torch.from_numpy(part.labels).to(device), self.recipe.smoothing)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        return float(loss.detach())


def _device(name: str) -> torch.device:
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise Fatal("finetune.device is cuda, but torch finds no GPU here; use auto or cpu.")
    return torch.device("cuda" if available and name != "cpu" else "cpu")
