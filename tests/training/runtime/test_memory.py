"""Running out of memory is one sentence with the setting to lower; other errors pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.errors import Fatal
from training.runtime.memory import lowering

HUGE = 2**50  # Bytes that no machine gives.


def test_torch_on_a_cpu() -> None:
    with pytest.raises(Fatal, match=r"^this machine is out of memory; lower pretrain.micro_batch\.$"):
        with lowering("lower pretrain.micro_batch"):
            torch.empty(HUGE, dtype=torch.uint8)


def test_numpy() -> None:
    with pytest.raises(Fatal, match="lower pretrain.read_rows"), lowering("lower pretrain.read_rows"):
        np.ones(HUGE, dtype=np.uint8)


def test_torch_on_a_gpu() -> None:
    with pytest.raises(Fatal, match="^the GPU is out of memory; x"), lowering("x"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2"), lowering("x"):
        torch.ones(2, 3) @ torch.ones(2, 3)
