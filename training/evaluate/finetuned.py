"""A fine-tuned model: predicts classes from stored values, scores itself on samples, and is saved in one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import Fatal
from training.evaluate.legend import Legend
from training.evaluate.samples import Samples
from training.layer import IGNORED
from training.model.classifier import Classifier
from training.model.normalisation import Groups, Normalisation
from training.model.unet import UNet
from training.weights.pretrained import Pretrained
from training.weights.timm_names import from_timm, to_timm
from training.weights.weights import head_of, load_encoder, save_encoder

_BATCH = 64
_ENCODER, _UNET = "encoder.", "unet."
_KINDS: dict[str, type[Classifier] | type[UNet]] = {"classifier": Classifier, "unet": UNet}


@dataclass(frozen=True)
class Scores:
    """`confusion` (classes, classes) int64 counts labels (first axis) by prediction (second axis)."""

    confusion: NDArray[np.int64]

    @property
    def accuracy(self) -> float:
        """Fraction of the labelled images or pixels that are predicted correctly."""
        return float(np.trace(self.confusion) / self.confusion.sum())

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union per class, (classes,) float64; NaN for a class neither labelled nor predicted."""
        hit = np.diagonal(self.confusion).astype(np.float64)
        union = self.confusion.sum(0) + self.confusion.sum(1) - hit
        return np.divide(hit, union, out=np.full(len(hit), np.nan), where=union > 0)

    @property
    def mean_iou(self) -> float:
        """Mean over the classes that are labelled or predicted."""
        return float(np.nanmean(self.iou))


@dataclass(frozen=True)
class Finetuned:
    """`losses` are the mean training losses per epoch, `origin` the facts of the pretrained encoder.

    `legend` is that of the samples; None for samples of the user, and in a file of an older release.
    """

    model: Classifier | UNet
    normalisation: Normalisation
    classes: tuple[str, ...]
    losses: tuple[float, ...] = ()
    origin: Mapping[str, Any] = field(default_factory=dict)
    legend: Legend | None = None

    @property
    def dense(self) -> bool:
        """Whether it gives a class for every pixel, and not one for the image."""
        return isinstance(self.model, UNet)

    def probabilities(self, stored: Mapping[str, Any], groups: Groups) -> NDArray[np.float32]:
        """Of the classes, (images, classes[, y, x]); takes and raises what `Normalisation.image` does."""
        device = next(self.model.parameters()).device
        with torch.inference_mode():
            logits = self.model(self.normalisation.image(stored, groups).to(device)).float()
        return np.asarray(logits.softmax(dim=1).cpu().numpy(), dtype=np.float32)

    def on_best_device(self) -> Finetuned:
        """The same model, on a GPU where torch finds one."""
        self.model.to(best_device())
        return self

    def predict(self, samples: Samples) -> NDArray[np.int64]:
        """Class indices int64, in the shape of the samples' labels. Raises `Fatal` as `Normalisation.image` does."""
        indices = np.arange(len(samples))
        parts = [samples.of(rows) for rows in np.split(indices, range(_BATCH, len(indices), _BATCH))]
        return np.concatenate([self._logits(part).argmax(1).cpu().numpy() for part in parts])

    def _logits(self, part: Samples) -> Tensor:
        device = next(self.model.parameters()).device
        with torch.inference_mode():
            result: Tensor = self.model(self.normalisation.image(part.stored, part.groups).to(device))
        return result

    def score(self, samples: Samples) -> Scores:
        """Scores of the predictions on the samples that have labels.

        Raises `Fatal` where no sample has a label, or for classes other than those of the model.
        """
        if samples.classes != self.classes:
            raise Fatal(f"these samples have other classes than the model, which knows {', '.join(self.classes)}.")
        known = samples.labels != IGNORED
        if not known.any():
            raise Fatal("none of the samples has a label; there is nothing to score.")
        count = len(self.classes)
        pairs = samples.labels[known] * count + self.predict(samples)[known]
        return Scores(np.bincount(pairs, minlength=count**2).reshape(count, count))

    def save(self, path: str | Path) -> None:
        """Write encoder and head to one file, as `save_encoder` does; the head of a classifier has timm's names."""
        model, architecture = self.model, self.model.encoder.architecture
        rest = {name: item for name, item in model.state_dict().items() if not name.startswith(_ENCODER)}
        named = to_timm(rest, architecture) if isinstance(model, Classifier) else _prefixed(_UNET, rest)
        kind = next(name for name, item in _KINDS.items() if isinstance(model, item))
        facts = {"kind": kind, "classes": list(self.classes), "losses": list(self.losses), "origin": self.origin}
        facts |= {"legend": self.legend.to_dict()} if self.legend else {}
        save_encoder(path, Pretrained(model.encoder, self.normalisation, facts), named)


def best_device() -> torch.device:
    """A GPU where torch finds one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_finetuned(path: str | Path) -> Finetuned:
    """The model that `Finetuned.save` wrote; raises `Fatal` for another file."""
    pretrained = load_encoder(path)
    facts = pretrained.facts
    if facts.get("kind") not in _KINDS:
        raise Fatal(f"{path} holds an encoder and no fine-tuned model; fine-tune it first.")
    encoder = pretrained.convnext("a fine-tuned model")
    head = head_of(Path(path))
    model = _KINDS[facts["kind"]](encoder, len(facts["classes"]))
    named = from_timm(head, encoder.architecture) if isinstance(model, Classifier) else _without(_UNET, head)
    model.load_state_dict(named | _prefixed(_ENCODER, encoder.state_dict()))
    classes, losses = tuple(facts["classes"]), tuple(facts["losses"])
    legend = Legend.from_dict(facts["legend"]) if "legend" in facts else None
    return Finetuned(model.eval(), pretrained.normalisation, classes, losses, facts["origin"], legend)


def _prefixed(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": item for name, item in state.items()}


def _without(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): item for name, item in state.items()}
