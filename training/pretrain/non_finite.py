"""Finds the chips and the modality that made a step non-finite, by repeating it part by part."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from pipeline import durable
from training.batch import Batch, Raw
from training.data.prepare import Preparation
from training.layer import Layer
from training.pretrain.outlier import Outlier, worst_outlier
from training.pretrain.step import Step

CPU = torch.device("cpu")
_GRADIENTS = "the gradients are not finite"
_LATE = " (looked at under the weights after step {}, when pretrain.log_every had the metrics fetched)"
_LOWER_RATE = "lower pretrain.blr or set pretrain.clip_grad, and start afresh"


@dataclass(frozen=True)
class NonFiniteReport:
    """`what` completes the sentence "at step N, ...", `remedy` what to do about it.

    `batch` has the chips of the part that causes it, on the CPU, and `culprits` the manifest rows at fault, if known.
    `repeated` says that some part was not finite again.
    """

    what: str
    remedy: str
    batch: Batch
    culprits: tuple[int, ...] = ()
    repeated: bool = True

    def seen_after(self, step: int) -> NonFiniteReport:
        """The report of a look under the weights after a later `step`, which says so unless a value is at fault."""
        if self.culprits:
            return self
        again = self.what if self.repeated else "the loss or the gradients were not finite, and are"
        return replace(self, what=f"{again}{_LATE.format(step)}")

    @property
    def rows(self) -> tuple[int, ...]:
        """The manifest rows to look at."""
        return self.culprits or self.batch.rows

    def save(self, path: Path) -> Path:
        """Write `path` for `torch.load`: rows, values and valid by modality, visible patches; returns `path`."""
        buffer = io.BytesIO()
        content = {"what": self.what, "rows": list(self.batch.rows), "values": self.batch.values,
                   "valid": self.batch.valid, "visible": self.batch.visible}  # fmt: skip
        torch.save(content, buffer)
        durable.write_bytes(path, buffer.getvalue())
        return path


def find(step: Step, parts: Iterable[Raw], layers: Sequence[Layer], device: torch.device) -> NonFiniteReport:
    """The first of `parts` with a non-finite value, loss or gradient under the current weights.

    A stored value is named as the cause if it is no number, or if the part is finite once values outside of their
    layer's valid range are hidden. Where every part is finite, only their sum was not: the report has the last part.
    `parts` must not be empty.
    """
    prepare = Preparation(layers, device)
    for raw in parts:
        part, worst = prepare(raw.to(device)), worst_outlier(raw, layers)
        if what := _broken_value(part) or _broken_loss(step, part):
            if worst and _is_cause(worst, step, raw, layers, device):
                return NonFiniteReport(worst.what, worst.remedy, part.to(CPU), (worst.row,))
            return NonFiniteReport(what, _LOWER_RATE, part.to(CPU))
    return NonFiniteReport(_GRADIENTS, _LOWER_RATE, part.to(CPU), repeated=False)


def _is_cause(worst: Outlier, step: Step, raw: Raw, layers: Sequence[Layer], device: torch.device) -> bool:
    if not worst.is_number:
        return True
    hiding = Preparation([replace(layer, hide_outside=True) for layer in layers], device)
    return not _broken_loss(step, hiding(raw.to(device)))


def _broken_value(batch: Batch) -> str:
    bad = [name for name, values in batch.values.items() if not bool(torch.isfinite(values).all())]
    return f"modality {bad[0]!r} holds values that are no numbers" if bad else ""


def _broken_loss(step: Step, batch: Batch) -> str:
    objective = step.alone(batch)
    for name, loss in zip(step.model.loss_names, objective.losses, strict=True):
        value = float(loss.detach())
        if not bool(torch.isfinite(loss)):
            return f"the loss of {name!r} is {value}"
        if not _has_finite_gradients(loss, step):
            return f"the gradients of {name!r} are not finite"
    # Losses without a graph, which are for the log only, say nothing of gradients.
    return "" if _has_finite_gradients(objective.total, step) else _GRADIENTS


def _has_finite_gradients(loss: Tensor, step: Step) -> bool:
    if not loss.requires_grad:
        return True
    weights = [item for item in step.model.parameters() if item.requires_grad]
    gradients = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
    return all(bool(torch.isfinite(item).all()) for item in gradients if item is not None)
