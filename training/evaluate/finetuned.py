"""A fine-tuned model: predicts labels from stored values, scores itself on samples, and is saved in one file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import Fatal
from training.evaluate.fit import fitted, unfitted
from training.evaluate.legend import Legend
from training.evaluate.recipe import Fit
from training.evaluate.sample_source import SampleSource, batches_of
from training.evaluate.samples import Samples
from training.evaluate.tasks.kinds import task_from
from training.evaluate.tasks.label_task import LabelTask
from training.evaluate.tasks.single_label import SingleLabel
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
class Finetuned:
    """`losses` are the mean training losses per epoch, `origin` the facts of the pretrained encoder.

    `classes` are the names of classes, labels or columns, by what the `labels` are; None is of one class each. `legend`
    is that of the samples; None for samples of the user, and in a file of an older release. `fit` says what becomes of
    images whose edges are no multiple of the patch. `image_yx` is the size in pixels of the images that it learned
    from; None in a file of an older release.
    """

    model: Classifier | UNet
    normalisation: Normalisation
    classes: tuple[str, ...]
    losses: tuple[float, ...] = ()
    origin: Mapping[str, Any] = field(default_factory=dict)
    legend: Legend | None = None
    labels: LabelTask | None = None
    fit: Fit = "pad"
    image_yx: tuple[int, int] | None = None

    @property
    def task(self) -> LabelTask:
        """What it predicts."""
        return self.labels or SingleLabel(self.classes)

    @property
    def dense(self) -> bool:
        """Whether it gives an answer for every pixel, and not one for the image."""
        return isinstance(self.model, UNet)

    def probabilities(self, stored: Mapping[str, Any], groups: Groups) -> NDArray[np.float32]:
        """Of the classes, (images, classes[, y, x]); takes and raises what `Normalisation.image` does.

        Raises `Fatal` for a model of other labels than one class each.
        """
        self._refuse_other("probabilities of classes")
        return self.estimates(stored, groups)

    def estimates(self, stored: Mapping[str, Any], groups: Groups) -> NDArray[np.float32]:
        """What maps show, (images, names[, y, x]): probabilities of classes or labels, or numbers in their units.

        Takes and raises what `Normalisation.image` does.
        """
        return self.task.estimates(self.outputs(stored, groups))

    def _refuse_other(self, what: str) -> None:
        if not isinstance(self.task, SingleLabel):
            raise Fatal(f"this model is of kind {self.task.kind!r}, and has no {what}; give one of single labels.")

    def outputs(self, stored: Mapping[str, Any], groups: Groups) -> Tensor:
        """What the head says, (images, names[, y, x]) float32; takes and raises what `Normalisation.image` does."""
        device = next(self.model.parameters()).device
        image = self.normalisation.image(stored, groups)
        with torch.inference_mode():
            result = self.model(fitted(image.to(device), self.model.encoder.patch_px, self.fit)).float()
        return unfitted(result, (image.shape[-2], image.shape[-1]), self.fit) if self.dense else result

    def on_best_device(self) -> Finetuned:
        """The same model, on a GPU where torch finds one."""
        self.model.to(best_device())
        return self

    def predict(self, samples: SampleSource) -> NDArray[Any]:
        """Answers in the kind and shape of the samples' labels: class indices, 0 or 1, or numbers in their units.

        Raises `Fatal` as `Normalisation.image` does.
        """
        parts = (samples.of(rows) for rows in batches_of(samples, _BATCH))
        return np.concatenate([self.task.answers(self.outputs(part.stored, part.groups)) for part in parts])

    def score(self, samples: SampleSource) -> Any:
        """The tally of the predictions on the samples that have labels: `ClassTally`, `MultiLabelTally`, `NumberTally`.

        Its `figures()` are the scores by name, and `figures_of` gives their intervals. Raises `Fatal` where no sample
        has a label, for labels of another kind, or for other classes than those of the model.
        """
        if samples.task.kind != self.task.kind:
            raise Fatal(f"these samples are of kind {samples.task.kind!r}, and the model of {self.task.kind!r}.")
        if samples.task.names != self.classes:
            raise Fatal(f"these samples have other classes than the model, which knows {', '.join(self.classes)}.")
        parts = (samples.of(rows) for rows in batches_of(samples, _BATCH))
        tally = self.task.tally(self._pairs(parts))
        if not tally.samples:
            raise Fatal("none of the samples has a label; there is nothing to score.")
        return tally

    def _pairs(self, parts: Iterable[Samples]) -> Iterator[tuple[Tensor, NDArray[Any]]]:
        """Outputs beside labels, a batch at a time, so that maps need not all be in memory."""
        for part in parts:
            yield self.outputs(part.stored, part.groups), part.labels

    def save(self, path: str | Path) -> None:
        """Write encoder and head to one file, as `save_encoder` does; the head of a classifier has timm's names."""
        model, architecture = self.model, self.model.encoder.architecture
        rest = {name: item for name, item in model.state_dict().items() if not name.startswith(_ENCODER)}
        named = to_timm(rest, architecture) if isinstance(model, Classifier) else _prefixed(_UNET, rest)
        kind = next(name for name, item in _KINDS.items() if isinstance(model, item))
        facts = {"kind": kind, "classes": list(self.classes), "losses": list(self.losses), "origin": self.origin}
        facts |= {"legend": self.legend.to_dict()} if self.legend else {}
        facts |= {"task": self.task.to_dict(), "fit": self.fit}
        facts |= {"image_yx": list(self.image_yx)} if self.image_yx else {}
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
    task, size = task_from(facts.get("task"), classes), facts.get("image_yx")
    return Finetuned(
        model.eval(), pretrained.normalisation, classes, losses, facts["origin"], legend, task, facts.get("fit", "pad"),
        (int(size[0]), int(size[1])) if size else None,
    )  # fmt: skip


def _prefixed(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": item for name, item in state.items()}


def _without(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): item for name, item in state.items()}
