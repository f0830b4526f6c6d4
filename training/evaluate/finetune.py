"""Adapts an encoder to labelled images: one class per image or per pixel; the encoder may be frozen for some epochs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR

from pipeline.errors import Fatal
from pipeline.progress import Progress, Silent
from training.evaluate.decay import parameter_groups
from training.evaluate.finetuned import Finetuned
from training.evaluate.recipe import Recipe
from training.evaluate.samples import Samples
from training.layer import IGNORED
from training.model.classifier import Classifier
from training.model.encoder import Encoder
from training.model.unet import UNet
from training.schedule import BLR_BATCH, rate_at
from training.weights.pretrained import Pretrained


def finetune(pretrained: Pretrained, train: Samples, recipe: Recipe, progress: Progress | None = None) -> Finetuned:
    """A model for the labels of `train`, initialised from `pretrained`, which is not changed.

    Labels per image give a classifier, labels per pixel a UNet. On a CPU with the same number of threads, the same
    arguments give the same model. Raises `Fatal` for images that do not fit the encoder, samples without any label, or
    a non-finite loss.
    """
    encoder = pretrained.convnext("fine-tuning")
    _refuse_misfits(encoder, train)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = _initial_model(encoder, train, recipe)
        losses = Tuning(model, pretrained, train, recipe).run(progress or Silent())
    return Finetuned(
        model.eval(), pretrained.normalisation, train.classes, tuple(losses), pretrained.facts, train.legend
    )


def _refuse_misfits(encoder: Encoder, train: Samples) -> None:
    if not (train.labels != IGNORED).any():
        raise Fatal("none of the samples has a label; there is nothing to learn.")
    patch = encoder.patch_px
    for name, images in train.stored.items():
        height, width = images.shape[-2:]
        if height % patch or width % patch or not height * width:
            size = f"{height} x {width} px"
            raise Fatal(f"images of {name!r}, {size}, are no multiple of the {patch} px patch; crop them.")


def _initial_model(encoder: Encoder, train: Samples, recipe: Recipe) -> Classifier | UNet:
    fresh = Encoder.of(encoder.architecture, recipe.drop_path)
    fresh.load_state_dict(deepcopy(encoder.state_dict()))
    kind = Classifier if train.labels.ndim == 1 else UNet
    return kind(fresh, len(train.classes)).to(_device(recipe.device))


@dataclass
class Tuning:
    """Fine-tuning of a model on samples by a recipe."""

    model: Classifier | UNet
    pretrained: Pretrained
    train: Samples
    recipe: Recipe

    def run(self, progress: Progress) -> list[float]:
        """Train all epochs; returns the mean loss of each. Raises `Fatal` for a non-finite loss."""
        recipe, size = self.recipe, len(self.train)
        steps = math.ceil(size / recipe.batch_size) * recipe.epochs
        optimiser, schedule = self._optimiser(steps)
        progress.start("finetune", recipe.epochs)
        losses = []
        for epoch in range(recipe.epochs):
            self.set_trainable(epoch >= round(recipe.frozen * recipe.epochs))
            result = [self._step(rows, optimiser, schedule) for rows in self._batches(epoch)]
            losses.append(float(np.mean(result)))
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
        image = self.pretrained.normalisation.image(part.stored, part.groups).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = self.model(image)
        loss = error_of(logits.float(), torch.from_numpy(part.labels).long().to(device), self.recipe.smoothing)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        return float(loss.detach())


def error_of(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Mean cross-entropy over labelled images or pixels; 0 where there is no label.

    `logits` (batch, classes[, y, x]) float32, `labels` (batch[, y, x]) int64, `IGNORED` for none.
    """
    total = functional.cross_entropy(logits, labels, ignore_index=IGNORED, label_smoothing=smoothing, reduction="sum")
    return total / (labels != IGNORED).sum().clamp(min=1)


def _device(name: str) -> torch.device:
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise Fatal("finetune.device is cuda, but torch finds no GPU here; use auto or cpu.")
    return torch.device("cuda" if available and name != "cpu" else "cpu")
