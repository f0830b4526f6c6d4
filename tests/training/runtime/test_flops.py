"""Operations of a step, whatever the net is made of."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from training.batch import Batch
from training.runtime.flops import flops_per_chip


class Tied(nn.Module):
    """One matrix under two names, and a buffer that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Linear(8, 8, bias=False)
        self.back = nn.Sequential(self.into)
        self.register_buffer("scale", torch.ones(8), persistent=False)

    def forward(self, batch: Batch, counts: Tensor, fraction: float) -> Tensor:
        return self.back(self.into(batch.values["a"]) * self.scale)


def test_tied_weights_and_buffers_that_are_not_saved_are_counted() -> None:
    batch = Batch({"a": torch.zeros(4, 8)}, {}, torch.zeros(4, 1, 1, dtype=torch.bool), (0, 1, 2, 3))
    assert flops_per_chip(Tied(), batch, 1) == pytest.approx(3 * 2 * 2 * 8 * 8)
