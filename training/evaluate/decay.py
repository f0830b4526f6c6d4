"""Layer-wise learning rates: the deeper inside the encoder, the slower, and its stem the slowest of all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from training.model.weight_decay import decaying

_ENCODER = "encoder."
_STEMS = ("initial_conv", "stem", "stem_orig")


def depth_of(name: str, depths: Sequence[int]) -> int:
    """How far from the input a parameter of a classifier or UNet is: 0 in the stem, one more per block.

    A convolution between two stages belongs to the block after it; what is not the encoder's comes last. (The published
    code gives the stem the rate of the head, as it looks for it under another name.)
    """
    if not name.startswith(_ENCODER):
        return sum(depths) + 1
    parts = name.removeprefix(_ENCODER).split(".")
    if parts[0] in _STEMS:
        return 0
    if parts[0] == "downsample_layers":
        return sum(depths[: int(parts[1]) + 1]) + 1
    if parts[0] == "stages":
        return sum(depths[: int(parts[1])]) + int(parts[2]) + 1
    raise ValueError(f"no layer of an encoder: {name}")


def parameter_groups(
    model: nn.Module, depths: Sequence[int], rate: float, layer_decay: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Groups for an optimiser, one per depth and kind: rate * `layer_decay` ** (layers above), kernels alone decaying.

    Matrices and kernels decay; biases, norms and response norms do not.
    """
    kernels = decaying(model)
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, item in model.named_parameters():
        depth, decays = depth_of(name, depths), id(item) in kernels
        fresh = {
            "params": [], "names": [], "lr": rate * layer_decay ** (sum(depths) + 1 - depth),
            "weight_decay": weight_decay if decays else 0.0,
        }  # fmt: skip
        group = groups.setdefault((depth, decays), fresh)
        group["params"].append(item)
        group["names"].append(name)
    return list(groups.values())
