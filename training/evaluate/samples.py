"""Labelled images in memory: arrays of the user, or the chips of a corpus with one of its layers as label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.statistics import EVERYTHING
from training.data.centre import read_centre
from training.data.label import labels_of, own_label
from training.evaluate.legend import Legend, has_classes, legend_of, legend_of_numbers
from training.evaluate.tasks.kinds import task_of
from training.evaluate.tasks.label_task import Kind, LabelTask
from training.layer import Layer, groups_of
from training.model.normalisation import Groups, Normalisation


@dataclass(frozen=True)
class Samples:
    """Images in memory: `stored` (samples, bands, y, x) by layer in the stored dtype, as for `Normalisation.image`.

    Of values in the bands' units, `Normalisation.stored` makes them. `groups` are the groups of statistics of the
    samples. `legend` says what the labels are called and how maps show them. `labels` are by `kind`, and `classes` the
    names of classes, labels or columns:

    - "single-label": class indices, integers: (samples,) for one per image, (samples, y, x) for one per pixel,
      `IGNORED` (-1) for none.
    - "multi-label": 0 or 1, (samples, labels).
    - "regression": numbers, (samples, columns), or (samples, columns, y, x) for pixels, NaN for none.

    Raises `Fatal` for unequal or zero numbers of images and labels, and for labels of another kind.
    """

    stored: Mapping[str, NDArray[Any]]
    labels: NDArray[Any]
    classes: tuple[str, ...]
    groups: Groups = EVERYTHING
    legend: Legend | None = None
    kind: Kind = "single-label"

    def __post_init__(self) -> None:
        sizes = {len(self.labels), *(len(item) for item in self.stored.values())}
        if len(sizes) != 1 or 0 in sizes:
            raise Fatal(f"images and labels must be as many, and some; there are {sorted(sizes)}.")
        self.task.check(self.labels)

    @property
    def task(self) -> LabelTask:
        """What the labels are."""
        return task_of(self.kind, self.classes)

    def __len__(self) -> int:
        return len(self.labels)

    def of(self, rows: NDArray[np.int64]) -> Samples:
        """The samples at the indices `rows` (rows,) int64."""
        stored = {name: item[rows] for name, item in self.stored.items()}
        return replace(self, stored=stored, labels=self.labels[rows], groups=_chosen(self.groups, rows))


def _chosen(groups: Groups, rows: NDArray[np.int64]) -> Groups:
    if isinstance(groups, str):
        return groups
    if isinstance(groups, Mapping):
        return {name: [each[row] for row in rows] for name, each in groups.items()}
    return [groups[row] for row in rows]


def chip_samples(corpus: Corpus, normalisation: Normalisation, label: str, split: str, image_px: int) -> Samples:
    """The chips of a split with one label each: the commonest class in layer `label` in the centre, or its band means.

    If no layer is called so, `label` is a column that the owner brought. Chips without a label are left out. Raises
    `Fatal` for a label without data in the split, or a corpus that lacks the inputs.
    """
    labels = labels_of(corpus, label, corpus.manifest.rows_of(split), image_px)
    stored, groups = images_of(corpus, normalisation, labels.rows, image_px)
    if not has_classes(corpus, label):
        names = _columns(corpus, label, labels.values.shape[1])
        legend = legend_of_numbers(corpus, label, names)
        return Samples(stored, labels.values, names, groups, legend, "regression")
    legend = legend_of(corpus, label)
    return Samples(stored, labels.values, legend.classes, groups, legend)


def pixel_samples(corpus: Corpus, normalisation: Normalisation, label: str, split: str, image_px: int) -> Samples:
    """All chips of a split, with the class of every pixel of the centre in layer `label`, or the values in their units.

    Raises `Fatal` for a label that has no pixels, a split without chips, or a corpus that lacks the inputs.
    """
    if own_label(corpus, label) is not None:
        raise Fatal(f"column {label!r} has one value per chip; fine-tune with one label per chip.")
    modality, rows = corpus.modality(label), corpus.manifest.rows_of(split)
    if modality.extent != "pixel":
        raise Fatal(f"modality {label!r} has one value per chip; fine-tune with one label per chip.")
    if not len(rows):
        raise Fatal(f"the corpus in {corpus.folder} has no {split} rows; choose another split.")
    stored, groups = images_of(corpus, normalisation, rows, image_px)
    codes = read_centre(corpus, label, rows, image_px)
    if not modality.categories:
        values = modality.physical(codes).astype(np.float32)
        legend = legend_of_numbers(corpus, label, modality.band_names)
        return Samples(stored, values, modality.band_names, groups, legend, "regression")
    legend = legend_of(corpus, label)
    indices, _ = Layer(modality, (0,), {}).values(codes, [EVERYTHING] * len(rows))
    return Samples(stored, indices[:, 0], legend.classes, groups, legend)


def _columns(corpus: Corpus, label: str, count: int) -> tuple[str, ...]:
    """Names of the numbers of a label: those of the bands, where all have data."""
    names = corpus.modality(label).band_names if label in corpus.modalities else (label,)
    return names if len(names) == count else tuple(f"{label} {index}" for index in range(count))


def images_of(
    corpus: Corpus, normalisation: Normalisation, rows: NDArray[np.int64], image_px: int
) -> tuple[dict[str, NDArray[Any]], dict[str, Sequence[str]]]:
    """The centres of the chips in manifest `rows` (rows,), ascending, and their groups, as `Normalisation.image` takes.

    Raises `Fatal` for a layer or band that the corpus lacks.
    """
    layers = normalisation.layers_of(corpus.modalities)
    stored = {item.name: read_centre(corpus, item.name, rows, image_px)[:, list(item.bands)] for item in layers}
    return stored, {item.name: [str(group) for group in groups_of(corpus, item)[rows]] for item in layers}
