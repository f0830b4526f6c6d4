"""Losses against arithmetic by hand and in NumPy, and their behaviour where there is nothing to predict."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from training.model import losses


def test_squared_error_counts_only_what_counts() -> None:
    prediction = torch.tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    loss, active = losses.squared_error(
        prediction, torch.tensor([[0.0, 9.0, 5.0]]), torch.tensor([[True, False, True]])
    )
    loss.backward()
    assert loss.item() == pytest.approx((1 + 4) / 2)
    assert active.item() is True
    assert prediction.grad.tolist() == [[1.0, 0.0, -2.0]]


def test_class_error_is_the_mean_negative_log_probability() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(2, 4, 3, 3))
    target = random.integers(0, 4, size=(2, 3, 3))
    counted = random.random((2, 3, 3)) < 0.5
    loss, _ = losses.class_error(torch.tensor(logits), torch.tensor(target), torch.tensor(counted))
    chance = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    chosen = np.take_along_axis(chance, target[:, None], 1)[:, 0]
    assert loss.item() == pytest.approx(-np.log(chosen[counted]).mean())


@pytest.mark.parametrize("kind", [losses.squared_error, losses.class_error])
def test_nothing_to_predict_is_exactly_nothing(kind) -> None:
    prediction = torch.randn(2, 3, 4, 4, requires_grad=True)
    shape = (2, 3, 4, 4) if kind is losses.squared_error else (2, 4, 4)
    target = torch.full(shape, math.nan) if kind is losses.squared_error else torch.full(shape, -1)
    loss, active = kind(prediction, target, torch.zeros(shape, dtype=torch.bool))
    loss.backward()
    assert (loss.item(), active.item()) == (0.0, False)
    assert torch.equal(prediction.grad, torch.zeros_like(prediction))


def test_patches_are_normalised_over_their_valid_values() -> None:
    random = np.random.default_rng(1)
    target, valid = random.normal(5, 3, size=(2, 2, 8, 16)), random.random((2, 2, 8, 16)) < 0.7
    got = losses.normalise_patches(torch.tensor(target), torch.tensor(valid), 8).numpy()
    for image in range(2):
        for left in (0, 8):
            where = valid[image, :, :, left : left + 8]
            values = target[image, :, :, left : left + 8][where]
            expected = (values - values.mean()) / np.sqrt(values.var() + 1e-6)
            np.testing.assert_allclose(got[image, :, :, left : left + 8][where], expected)


def test_a_patch_without_data_or_contrast_is_finite() -> None:
    target, valid = torch.full((1, 1, 8, 16), 4.0), torch.ones(1, 1, 8, 16, dtype=torch.bool)
    valid[..., 8:] = False
    assert torch.equal(losses.normalise_patches(target, valid, 8), torch.zeros(1, 1, 8, 16))


def test_uncertainty_weighting_by_hand() -> None:
    spread = torch.tensor([0.5, -1.0, 2.0], requires_grad=True)
    parts, active = torch.tensor([2.0, 3.0, 0.0]), torch.tensor([True, True, False])
    total = losses.weigh(parts, active, spread)
    total.backward()
    assert total.item() == pytest.approx(math.exp(-0.5) * 2 + 0.5 + math.exp(1) * 3 - 1)
    np.testing.assert_allclose(spread.grad, [1 - math.exp(-0.5) * 2, 1 - math.exp(1) * 3, 0], rtol=1e-6)


def test_a_loss_of_zero_is_not_an_absent_target() -> None:
    """The published code drops a task whose loss happens to be 0."""
    total = losses.weigh(torch.tensor([0.0]), torch.tensor([True]), torch.tensor([0.7]))
    assert total.item() == pytest.approx(0.7)


def test_plain_sum() -> None:
    total = losses.weigh(torch.tensor([2.0, 3.0, 4.0]), torch.tensor([True, False, True]), None)
    assert total.item() == 6.0
