"""The task of a kind, and the one that a file of weights names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.errors import unknown_name
from training.evaluate.tasks.label_task import LabelTask
from training.evaluate.tasks.multi_label import MultiLabel
from training.evaluate.tasks.regression import Regression
from training.evaluate.tasks.single_label import SingleLabel

KINDS: tuple[type[SingleLabel] | type[MultiLabel] | type[Regression], ...] = (SingleLabel, MultiLabel, Regression)


def task_of(kind: str, names: Sequence[str]) -> LabelTask:
    """The task of a `kind`, "single-label", "multi-label" or "regression"; raises `Fatal` for another."""
    for each in KINDS:
        if each.kind == kind:
            return each(tuple(names))
    raise unknown_name("kind of labels", kind, [each.kind for each in KINDS])


def task_from(data: Mapping[str, Any] | None, names: Sequence[str]) -> LabelTask:
    """The task that `to_dict` described; older files of weights say nothing, and are of classes."""
    if data is not None and data["kind"] == Regression.kind:
        return Regression(tuple(names), tuple(data["mean"]), tuple(data["std"]))
    return task_of(SingleLabel.kind if data is None else data["kind"], names)
