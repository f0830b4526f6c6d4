"""Which parameters weight decay is for."""

from __future__ import annotations

from torch import nn


def decaying(model: nn.Module) -> frozenset[int]:
    """The ids of the parameters that decay: matrices and kernels.

    Biases, norms, response norms and single tokens do not.
    """
    return frozenset(id(part.weight) for part in model.modules() if isinstance(part, nn.Conv2d | nn.Linear))
