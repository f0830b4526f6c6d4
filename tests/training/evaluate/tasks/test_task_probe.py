"""Probes of labelled images of every kind, of one label or of pixels, on a part or in folds."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score
from sklearn.model_selection import StratifiedKFold

from pipeline.errors import Fatal
from tests.training.evaluate.test_finetune import fields, make_pretrained, stripes
from tests.training.evaluate.test_kinds_of_labels import numbers, several
from training.evaluate.probed import BANDS, RANDOM, THIS
from training.evaluate.samples import Samples
from training.evaluate.tasks.frozen_features import BLIND, frozen_features
from training.evaluate.tasks.linear import fit_linear
from training.evaluate.tasks.task_probe import Probing, probe_images

MADE = {
    "classes": stripes, "labels": several, "pixel classes": fields,
    "numbers": lambda count, seed: numbers(count, seed, "image"),
    "pixel numbers": lambda count, seed: numbers(count, seed, "pixel"),
}  # fmt: skip


@pytest.mark.parametrize("make", MADE.values(), ids=MADE.keys())
def test_every_kind_has_a_table(make: object) -> None:
    found = probe_images(make_pretrained(), make(24, 0), make(16, 1))  # type: ignore[operator]
    assert list(found.tallies) == [THIS, RANDOM, BANDS, BLIND] and (found.train, found.folds) == (24, 1)
    scores = {name: tally.figures()[tally.headline] for name, tally in found.tallies.items()}
    assert scores[BANDS] > scores[BLIND] and all(tally.samples == found.test for tally in found.tallies.values())


def test_folds_test_each_image_once_and_score_as_by_hand() -> None:
    samples = stripes(30, 0)
    pretrained = make_pretrained()
    found = Probing(folds=3).in_folds(pretrained, samples)
    known = samples.labels >= 0
    assert (found.folds, found.test) == (3, int(known.sum()))
    images = pretrained.normalisation.image(samples.stored)
    features = frozen_features(pretrained, "pad", 0)[BANDS].of_images(images)
    said = np.full(30, -9)
    for train, test in StratifiedKFold(3, shuffle=True, random_state=0).split(samples.labels, samples.labels):
        kept = train[known[train]]
        said[test] = fit_linear(samples.task, features[kept], samples.labels[kept])(features[test]).argmax(1).numpy()
    assert found.tallies[BANDS].figures()["accuracy"] == accuracy_score(samples.labels[known], said[known])


def test_images_that_fill_no_patch_are_padded() -> None:
    found = probe_images(make_pretrained(), stripes(12, 0, 20), stripes(8, 1, 20))
    assert found.test == 6


def test_no_labels_to_test_on() -> None:
    train = stripes(12, 0)
    with pytest.raises(Fatal, match="none of the test images has a label"):
        probe_images(make_pretrained(), train, Samples(train.stored, np.full(12, -1), train.classes))
