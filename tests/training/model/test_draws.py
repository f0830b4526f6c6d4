"""Random numbers on the device: those of SplitMix64, uniform, and functions of the key alone."""

from __future__ import annotations

import numpy as np
import torch

from pipeline.splitmix import GOLDEN, mixed
from training.model.draws import uniform


def test_mixes_as_splitmix_does() -> None:
    keys = np.array([0, 1, -1, 2**62, -(2**63)], dtype=np.int64)
    states = mixed(mixed(keys.view(np.uint64))[:, None] + np.arange(1, 4, dtype=np.uint64) * GOLDEN)
    expected = (states >> np.uint64(40)).astype(np.float32) / 2**24
    np.testing.assert_array_equal(uniform(torch.from_numpy(keys), 0, 3).numpy(), expected)


def test_numbers_are_uniform_and_of_their_row_alone() -> None:
    keys = torch.arange(4000)
    numbers = uniform(keys, 3, 5)
    assert float(numbers.min()) >= 0 and float(numbers.max()) < 1
    counts = torch.histc(numbers, 10, 0, 1)
    assert (counts - 2000).abs().max() < 5 * 2000**0.5
    assert torch.equal(uniform(keys[7:9], 3, 5), numbers[7:9])
    assert not torch.equal(uniform(keys, 4, 5), numbers)
    correlations = torch.corrcoef(torch.cat([numbers, uniform(keys, 4, 5)], dim=1).T).fill_diagonal_(0)
    assert correlations.abs().max() < 5 / 4000**0.5
