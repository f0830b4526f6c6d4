"""The parameters to which weight decay applies."""

from __future__ import annotations

from torch import nn


def decaying(model: nn.Module) -> frozenset[int]:
    """The `id` of every parameter with weight decay: matrices and kernels.

    Biases, norms, response norms and tokens have none.
    """
    return frozenset(id(part.weight) for part in model.modules() if isinstance(part, nn.Conv2d | nn.Linear))
