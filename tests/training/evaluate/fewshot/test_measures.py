"""Scores from sums by block are scikit-learn's; intervals have their coverage; the labels needed are where they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score, r2_score, root_mean_squared_error

from training.evaluate.fewshot.measures import balanced_accuracy, macro_f1, r2, rmse
from training.evaluate.fewshot.needed import labels_needed
from training.evaluate.fewshot.resamples import Resamples, interval, score
from training.evaluate.fewshot.sums import sums_of_classes, sums_of_numbers


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_scores_are_those_of_scikit_learn(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth, blocks = random.normal(50, 3, 60), random.integers(0, 5, 60)
    predicted = truth + random.normal(0, 2, 60)
    sums = sums_of_numbers(truth, predicted, blocks).sum(axis=0)
    assert float(r2(sums)) == pytest.approx(r2_score(truth, predicted))
    assert float(rmse(sums)) == pytest.approx(root_mean_squared_error(truth, predicted))
    kinds, guesses = random.integers(0, 4, 60), random.integers(0, 5, 60)
    counts = sums_of_classes(kinds, guesses, blocks, 6).sum(axis=0)
    assert float(macro_f1(counts)) == pytest.approx(f1_score(kinds, guesses, average="macro", zero_division=0))
    with pytest.warns(UserWarning, match="not in y_true") if set(guesses) - set(kinds) else _quiet():
        assert float(balanced_accuracy(counts)) == pytest.approx(balanced_accuracy_score(kinds, guesses))


class _quiet:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def test_truths_without_spread_have_no_r2() -> None:
    sums = sums_of_numbers(np.full(9, 0.3), np.arange(9.0), np.arange(9) % 3).sum(axis=0)
    assert np.isnan(r2(sums))


def test_a_resample_is_the_score_of_its_draws_and_blocks() -> None:
    """Beside a plain loop over the resampled chips."""
    random = np.random.default_rng(1)
    truth, blocks = random.normal(size=40), random.integers(0, 6, 40)
    guesses = truth + random.normal(0, 0.5, (3, 40))
    sums = np.stack([sums_of_numbers(truth, one, blocks) for one in guesses])
    again = Resamples.of(6, resamples=4, seed=2)
    picks = again._picks(3)
    for number, found in enumerate(again.scores(sums, r2)):
        rows = np.concatenate([np.repeat(np.flatnonzero(blocks == block), int(count))
                               for block, count in enumerate(again.weights[number])])  # fmt: skip
        assert found == pytest.approx(np.mean([r2_score(truth[rows], guesses[draw][rows]) for draw in picks[number]]))
    assert score(sums, r2) == pytest.approx(np.mean([r2_score(truth, one) for one in guesses]))


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """Errors of draws and of blocks are both random; the truth is the RMSE of all of them."""
    covered = [_covers(seed) for seed in range(120)]
    assert 0.88 <= np.mean(covered) <= 1.0


def _covers(seed: int) -> bool:
    """20 draws and 30 blocks of 5 chips; squared errors have mean 1, with effects of the draw and of the block."""
    random = np.random.default_rng(seed)
    of_draw, of_block = random.gamma(25, 1 / 25, (20, 1)), random.gamma(9, 1 / 9, (1, 30))
    errors = of_draw * of_block * random.gamma(2.5, 1 / 2.5, (20, 30)) * 5
    sums = np.zeros((20, 30, 4))
    sums[..., 0], sums[..., 3] = 5, errors
    found = interval(score(sums, lambda item: item[..., 3] / item[..., 0]),
                     Resamples.of(30, 400, seed).scores(sums, lambda item: item[..., 3] / item[..., 0]))  # fmt: skip
    return found.low <= 1 <= found.high


def test_labels_needed() -> None:
    shots = (10, 100, 1000)
    curves = np.array([[0.99, -1.0, 0.0, np.nan], [0.5, 0.1, 0.0, 0.95], [1.0, 1.0, -0.1, 1.0]])
    needed = labels_needed(shots, curves)
    assert needed[0] == 10
    assert 100 < needed[1] < 1000
    assert np.isnan(needed[2])
    assert needed[3] == pytest.approx(100)
