"""The contrastive loss against plain loops in NumPy: values, gradients, and what absent sensors do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.training.model.plain_contrast import plain_contrast
from training.model.contrast import contrast, sensor_pairs


def made(rows: int, sensors: int, seed: int, share: float = 0.7) -> tuple[Tensor, Tensor]:
    """Unit vectors and presence; what is absent is no number."""
    random = np.random.default_rng(seed)
    views = random.normal(size=(rows, sensors, 5))
    views /= np.linalg.norm(views, axis=2, keepdims=True)
    present = random.random((rows, sensors)) < share
    views[~present] = np.nan
    return torch.from_numpy(views), torch.from_numpy(present)


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 9), sensors=st.integers(2, 4), seed=st.integers(0, 999), share=st.floats(0, 1))
def test_equals_plain_loops(rows: int, sensors: int, seed: int, share: float) -> None:
    views, present = made(rows, sensors, seed, share)
    result = contrast(views, present, torch.tensor(7.0, dtype=torch.float64))
    total, pairs = plain_contrast(views.numpy(), present.numpy(), 7.0)
    assert float(result.total) == pytest.approx(total, abs=1e-12)
    np.testing.assert_allclose(result.pairs.numpy(), pairs, atol=1e-12)
    both = [int((present[:, one] & present[:, other]).sum()) for one, other in sensor_pairs(sensors)]
    assert result.counts.tolist() == both


def test_gradients_are_those_of_small_differences() -> None:
    views, present = made(6, 3, seed=1)
    views = torch.where(present[..., None], views, 0.3)
    scale = torch.tensor(5.0, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda each, sharp: contrast(each, present, sharp).total, (views.requires_grad_(), scale.requires_grad_())
    )


def test_absent_sensors_are_neither_positives_nor_negatives() -> None:
    views, present = made(8, 3, seed=2)
    assert not present.all() and present.any()
    others = torch.where(present[..., None], views, torch.randn_like(views)).requires_grad_()
    scale = torch.tensor(5.0, dtype=torch.float64)
    result = contrast(others, present, scale)
    assert torch.equal(result.total.detach(), contrast(views, present, scale).total)
    result.total.backward()
    assert (others.grad[~present] == 0).all() and (others.grad[present] != 0).any(dim=-1).all()


def test_a_sample_of_one_sensor_is_a_negative_only() -> None:
    """It has no pair, so no loss of its own; its view is there, so others are told from it."""
    views, present = made(5, 2, seed=3, share=1.1)
    present[4, 0] = False
    scale = torch.tensor(5.0, dtype=torch.float64)
    result, without = contrast(views, present, scale), contrast(views[:4], present[:4], scale)
    assert int(result.counts[0]) == 4 and float(result.total) > float(without.total)


def test_nothing_in_common_costs_nothing() -> None:
    views = torch.ones(4, 2, 3, requires_grad=True)
    present = torch.tensor([[True, False], [False, True]] * 2)
    result = contrast(views, present, torch.tensor(5.0))
    result.total.backward()
    assert float(result.total.detach()) == 0 and (views.grad == 0).all()


def test_is_float32_inside_of_autocast() -> None:
    views, present = made(8, 2, seed=4)
    exact = contrast(views.float(), present, torch.tensor(9.0))
    with torch.autocast("cpu", torch.bfloat16):
        inside = contrast(views.float(), present, torch.tensor(9.0))
    assert inside.total.dtype == torch.float32 and torch.equal(inside.total, exact.total)
