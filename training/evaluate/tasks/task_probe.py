"""Probes of labelled images of any kind: linear models on frozen features, tested on other images or in folds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import Fatal
from pipeline.progress import Progress, Silent
from training.evaluate.probed import BANDS, RANDOM, THIS
from training.evaluate.recipe import Fit
from training.evaluate.sample_source import SampleSource, batches_of
from training.evaluate.samples import Samples
from training.evaluate.tasks.frozen_features import BLIND, Frozen, frozen_features
from training.evaluate.tasks.label_task import LabelTask, is_dense
from training.evaluate.tasks.linear import Model, fit_linear, folds_of
from training.evaluate.tasks.tally import Tally
from training.layer import IGNORED
from training.weights.pretrained import Pretrained

_BATCH = 32
_PIXELS_AN_IMAGE, _MOST_PIXELS = 64, 50_000
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class TaskProbe:
    """Tallies by kind of features, on `test` images; each of `folds` parts was tested once, 1 for a part of its own."""

    task: LabelTask
    train: int
    test: int
    folds: int
    tallies: Mapping[str, Tally]


@dataclass(frozen=True)
class Probing:
    """How labelled images are probed: what becomes of their size, in how many folds, and the seed of all draws.

    `kinds` are names of features that are compared, of those of `frozen_features`.
    """

    fit: Fit = "pad"
    folds: int = 5
    seed: int = 0
    kinds: tuple[str, ...] = (THIS, RANDOM, BANDS, BLIND)

    def divided(self, pretrained: Pretrained, train: SampleSource, test: SampleSource) -> TaskProbe:
        """Fitted to one part, tested on another. Raises `Fatal` for labels or images that cannot be probed."""
        return self._probed(
            pretrained, _Joined(train, test), [(np.arange(len(train)), len(train) + np.arange(len(test)))]
        )

    def in_folds(self, pretrained: Pretrained, samples: SampleSource) -> TaskProbe:
        """Each sample tested by a model that was fitted to the others. Raises `Fatal` as `divided` does."""
        first = samples.of(np.arange(1))
        labels = np.zeros(len(samples)) if is_dense(first.labels) else _labels(samples)
        return self._probed(pretrained, samples, folds_of(samples.task, labels, self.folds, self.seed))

    def _probed(self, pretrained: Pretrained, samples: SampleSource, draws: list[tuple[Rows, Rows]]) -> TaskProbe:
        train = np.unique(np.concatenate([rows for rows, _ in draws]))
        task = samples.task.fitted(samples.of(rows).labels for rows in _parts(train))
        kinds = frozen_features(pretrained, self.fit, self.seed)
        compared = {name: kinds[name] for name in self.kinds}
        work = _Dense if is_dense(samples.of(np.arange(1)).labels) else _Whole
        tallies = {
            name: task.tally(work(pretrained, frozen, samples, task, self.seed).outputs(draws))
            for name, frozen in compared.items()
        }
        tested = next(iter(tallies.values())).samples
        if not tested:
            raise Fatal("none of the test images has a label; there is nothing to score.")
        return TaskProbe(task, len(draws[0][0]), tested, len(draws), tallies)


@dataclass(frozen=True)
class _Joined:
    """Two parts behind each other."""

    first: SampleSource
    second: SampleSource

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def of(self, rows: Rows) -> Samples:
        """Rows of one of the parts."""
        ahead = len(self.first)
        return self.first.of(rows) if rows[0] < ahead else self.second.of(rows - ahead)

    @property
    def task(self) -> LabelTask:
        """That of both."""
        return self.first.task

    @property
    def legend(self) -> Any:
        """That of both."""
        return self.first.legend


@dataclass(frozen=True)
class _Whole:
    """One label for an image."""

    pretrained: Pretrained
    frozen: Frozen
    samples: SampleSource
    task: LabelTask
    seed: int

    def outputs(self, draws: list[tuple[Rows, Rows]]) -> Iterator[tuple[Tensor, NDArray[Any]]]:
        """Outputs of the models for the test images, beside their labels."""
        rows = np.unique(np.concatenate([part for draw in draws for part in draw]))
        parts = [self.samples.of(each) for each in _parts(rows, self.samples)]
        features = np.concatenate([self.frozen.of_images(_image(self.pretrained, part)) for part in parts])
        labels = np.concatenate([part.labels for part in parts])
        for train, test in draws:
            known = train[_known(self.task, labels[train])]
            yield fit_linear(self.task, features[known], labels[known], self.seed)(features[test]), labels[test]


@dataclass(frozen=True)
class _Dense:
    """A label for every pixel: models are fitted to some pixels of each training image."""

    pretrained: Pretrained
    frozen: Frozen
    samples: SampleSource
    task: LabelTask
    seed: int

    def outputs(self, draws: list[tuple[Rows, Rows]]) -> Iterator[tuple[Tensor, NDArray[Any]]]:
        """Outputs of the models for the pixels of the test images, beside their labels."""
        for train, test in draws:
            model = self._fitted(train)
            for rows in _parts(test, self.samples):
                part = self.samples.of(rows)
                maps = self.frozen.of_pixels(_image(self.pretrained, part))
                yield _mapped(model, maps), part.labels

    def _fitted(self, train: Rows) -> Model:
        random = np.random.default_rng(self.seed)
        most = max(1, min(_PIXELS_AN_IMAGE, _MOST_PIXELS // len(train)))
        features, labels = [], []
        for rows in _parts(train, self.samples):
            part = self.samples.of(rows)
            maps = self.frozen.of_pixels(_image(self.pretrained, part)).movedim(1, -1).flatten(1, 2).numpy()
            for each, label in zip(maps, _by_pixel(part.labels), strict=True):
                known = np.flatnonzero(_known(self.task, label))
                chosen = random.permutation(known)[:most]
                features.append(each[chosen])
                labels.append(label[chosen])
        return fit_linear(self.task, np.concatenate(features), np.concatenate(labels), self.seed)


def _parts(rows: Rows, samples: SampleSource | None = None) -> list[Rows]:
    """Batches; none has rows of both parts of joined samples."""
    ends = {*range(_BATCH, len(rows), _BATCH)}
    if isinstance(samples, _Joined):
        ends.add(int(np.searchsorted(rows, len(samples.first))))
    return [part for part in np.split(rows, sorted(ends)) if len(part)]


def _labels(samples: SampleSource) -> NDArray[Any]:
    return np.concatenate([samples.of(rows).labels for rows in batches_of(samples, _BATCH)])


def _image(pretrained: Pretrained, part: Samples) -> Tensor:
    return pretrained.normalisation.image(part.stored, part.groups)


def _by_pixel(labels: NDArray[Any]) -> NDArray[Any]:
    """(samples, y, x) as (samples, pixels), (samples, columns, y, x) as (samples, pixels, columns)."""
    if labels.ndim == 3:
        return labels.reshape(len(labels), -1)
    return np.moveaxis(labels, 1, -1).reshape(len(labels), -1, labels.shape[1])


def _known(task: LabelTask, labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows of labels say something."""
    if task.kind == "regression":
        return np.asarray(np.isfinite(labels).any(axis=1))
    return np.asarray(labels != IGNORED) if labels.ndim == 1 else np.ones(len(labels), dtype=bool)


def _mapped(model: Model, maps: Tensor) -> Tensor:
    """Outputs (rows, names, y, x) for features (rows, width, y, x)."""
    flat = maps.movedim(1, -1)
    outputs = model(flat.reshape(-1, flat.shape[-1]).numpy())
    return outputs.reshape(*flat.shape[:-1], -1).movedim(-1, 1)


def probe_images(
    pretrained: Pretrained, train: SampleSource, test: SampleSource | None = None, probing: Probing | None = None,
    progress: Progress | None = None,
) -> TaskProbe:  # fmt: skip
    """Probes of labelled images of any kind, beside random weights, statistics of bands and no features at all.

    Linear models are fitted to `train` and tested on `test`, or in five folds of `train` without it. The encoder's
    normalisation must be that of the images, as `own_moments` makes it. Raises `Fatal` for labels or images that cannot
    be probed.
    """
    how = probing or Probing()
    (progress or Silent()).say(f"probing on {train.task.kind} labels of {len(train)} images.")
    return how.in_folds(pretrained, train) if test is None else how.divided(pretrained, train, test)
