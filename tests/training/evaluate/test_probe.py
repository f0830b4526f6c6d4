"""Linear probes find what was planted, and nothing in shuffled labels; intervals and labels against plain readings."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from tests.training.corpora import SIZE_PX
from training.architecture import SIZES
from training.data.centre import read_centre
from training.data.label import labels_of
from training.evaluate.embedding import band_statistics, features_of
from training.evaluate.probe import Probe, difference, embed, estimate, linear_probe
from training.layer import layer_of
from training.model.encoder import Encoder


def planted(seed: int = 0, samples: int = 300) -> tuple[NDArray, NDArray]:
    """Features of eight columns, the third of which tells the class (three of them) with a little noise."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, samples)
    features = random.normal(size=(samples, 8)).astype(np.float32)
    features[:, 2] = 50 + 7 * labels + random.normal(size=samples)
    return features, labels


def plain_softmax(train_x: NDArray, train_y: NDArray, test_x: NDArray, steps: int = 400) -> NDArray:
    """Predicted classes of logistic regression by gradient descent, written out."""
    mean, std = train_x.mean(axis=0), train_x.std(axis=0)
    x, z = ((part - mean) / std for part in (train_x, test_x))
    weights, ones = np.zeros((x.shape[1] + 1, 3)), np.eye(3)[train_y]
    x, z = (np.column_stack([part, np.ones(len(part))]) for part in (x, z))
    for _ in range(steps):
        scores = np.exp(x @ weights)
        weights -= 0.5 * x.T @ (scores / scores.sum(axis=1, keepdims=True) - ones) / len(x)
    return (z @ weights).argmax(axis=1)


def test_a_planted_class_is_found_as_plain_logistic_regression_finds_it() -> None:
    features, labels = planted()
    result = linear_probe(features[:200], labels[:200], features[200:], labels[200:])
    data = (plain_softmax(features[:200], labels[:200], features[200:]) == labels[200:]).mean()
    assert result.score > 0.95
    assert abs(result.score - data) <= 0.03
    assert result.chance < 0.5
    low, high = result.interval()
    assert low <= result.score <= high and high - low < 0.1


def test_shuffled_labels_give_chance() -> None:
    features, labels = planted()
    labels = np.random.default_rng(1).permutation(labels)
    result = linear_probe(features[:200], labels[:200], features[200:], labels[200:])
    low, high = result.interval()
    assert low < 1 / 3 + 0.05 and high < 0.55


def test_a_planted_number_is_found_and_a_shuffled_one_is_not() -> None:
    random = np.random.default_rng(2)
    features = random.normal(size=(300, 5)).astype(np.float32)
    label = 280 + features @ random.normal(size=(5, 2)) + 0.1 * random.normal(size=(300, 2))
    assert linear_probe(features[:200], label[:200], features[200:], label[200:]).score > 0.98
    label = random.permutation(label)
    result = linear_probe(features[:200], label[:200], features[200:], label[200:])
    assert result.score < 0.05
    assert result.chance == pytest.approx(0, abs=0.05)


def test_r2_is_one_minus_the_share_of_the_variance_that_is_left() -> None:
    random = np.random.default_rng(3)
    features = random.normal(size=(120, 3)).astype(np.float32)
    label = features[:, 0] + random.normal(size=120)
    result = linear_probe(features[:80], label[:80], features[80:], label[80:])
    left = result.losses * label[80:].var()  # Losses are in deviations of the test part.
    assert result.score == pytest.approx(1 - left.sum() / ((label[80:] - label[80:].mean()) ** 2).sum())


def test_what_is_tested_does_not_choose_the_penalty() -> None:
    features, labels = planted()
    item = linear_probe(features[:200], labels[:200], features[200:250], labels[200:250])
    other = linear_probe(features[:200], labels[:200], features[200:], labels[200:])
    np.testing.assert_array_equal(item.losses, other.losses[:50])


def test_rare_classes_and_single_examples_are_no_obstacle() -> None:
    features, labels = planted()
    first = [int(np.flatnonzero(labels == item)[0]) for item in range(3)]
    result = linear_probe(features[first], labels[first], features[100:], labels[100:])
    assert 0 <= result.score <= 1


@pytest.mark.parametrize(
    ("train", "labels", "message"),
    [
        (np.zeros((0, 2)), np.zeros(0, dtype=np.int64), "samples to fit"),
        (np.zeros((4, 2)), np.zeros(3, dtype=np.int64), "one label per row"),
        (np.full((4, 2), np.nan), np.arange(4), "not finite"),
        (np.zeros((4, 2)), np.zeros(4, dtype=np.int64), "of one class"),
    ],
)
def test_refuses_what_cannot_be_probed(train: NDArray, labels: NDArray, message: str) -> None:
    with pytest.raises(Fatal, match=message):
        linear_probe(train, labels, np.zeros((2, 2)), np.array([0, 1]))


def test_intervals_are_those_of_the_binomial() -> None:
    """Of 400 independent samples with 80 % right, the bootstrap must find the normal approximation's width."""
    losses = (np.arange(400) % 5 == 0).astype(np.float64)
    low, high = Probe(losses, losses, np.ones(400)).interval()
    half = 1.96 * np.sqrt(0.8 * 0.2 / 400)
    assert low == pytest.approx(0.8 - half, abs=0.01) and high == pytest.approx(0.8 + half, abs=0.01)


def test_paired_differences_are_narrower_than_their_sides() -> None:
    random, ones = np.random.default_rng(4), np.ones(300)
    hard = (random.random(300) < 0.3).astype(np.float64)
    worse = [Probe(np.maximum(hard, random.random(300) < 0.05), ones, ones) for _ in range(3)]
    better = [Probe(hard, ones, ones)] * 3
    gap = difference(better, worse)
    assert gap.mean == pytest.approx(np.mean([item.losses.mean() for item in worse]) - hard.mean())
    assert 0 < gap.interval[0] < gap.mean < gap.interval[1]
    wide = estimate(worse).interval
    assert gap.interval[1] - gap.interval[0] < (wide[1] - wide[0]) / 2
    assert difference(worse, worse).interval == (0, 0)


def test_embeddings_are_means_over_the_patches_of_one_image_at_a_time() -> None:
    torch.manual_seed(0)
    encoder = Encoder(2, SIZES["zepto"], 8)
    images = torch.randn(5, 2, 16, 24)
    result = embed(encoder, images, batch_size=2)
    assert result.shape == (5, 128) and encoder.training
    with torch.no_grad():
        np.testing.assert_allclose(result[3], encoder(images[3:4])[0].flatten(1).mean(dim=1), atol=1e-6)


def test_features_of_rows_are_those_of_their_normalised_centres(corpus: Corpus) -> None:
    layers = (layer_of(corpus, "light", {}),)
    rows = np.array([0, 3, 9, 17])
    result = features_of(corpus, layers, rows, 24, band_statistics)
    assert result.shape == (4, 4)
    for index, row in enumerate(rows):
        stored = corpus.read("light", slice(int(row), int(row) + 1))[0, :, 4:28, 4:28]
        moments = layers[0].groups[corpus.manifest.column("level")[row]]
        green = stored[2].astype(np.float64)
        values = np.where(green == 0, 0, (green - moments.mean[1]) / moments.std[1])
        np.testing.assert_allclose(result[index, [1, 3]], [values.mean(), values.std(ddof=1)], rtol=1e-4)


def test_labels_are_the_commonest_class_and_the_mean(corpus: Corpus) -> None:
    rows = np.arange(20)
    ground, echo = labels_of(corpus, "ground", rows, 24), labels_of(corpus, "echo", rows, 24)
    for row, index in zip(ground.rows, ground.values, strict=True):
        codes, counts = np.unique(read_centre(corpus, "ground", np.array([row]), 24), return_counts=True)
        known = {30: 0, 10: 1, 20: 2}
        best = max((count, -known[code]) for code, count in zip(codes, counts, strict=True) if code in known)
        assert index == -best[1]
    # The second band lacks every third row; most chips have it, so those without it have no label.
    assert echo.values.shape == (13, 2) and not np.isin(echo.rows, np.arange(0, 20, 3)).any()
    whole = corpus.read("echo", slice(0, 20))[echo.rows][:, 0, 4:28, 4:28]
    np.testing.assert_allclose(echo.values[:, 0], whole.mean(axis=(1, 2)), rtol=1e-6)
    np.testing.assert_array_equal(echo.of(np.array([1, 2, 3])).rows, [1, 2])


def test_labels_of_chips_without_data_are_absent(corpus: Corpus) -> None:
    culture = labels_of(corpus, "culture", np.arange(20), SIZE_PX)
    np.testing.assert_array_equal(culture.rows, [row for row in range(20) if row % 4 != 3])
    np.testing.assert_array_equal(culture.values, [row % 4 for row in culture.rows])
    with pytest.raises(Fatal, match="'nothing' has no data to probe"):
        labels_of(corpus, "nothing", np.arange(20), SIZE_PX)
