"""Layer-wise learning rates: lower the nearer a layer is to the input, and lowest in the stem."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from training.model.weight_decay import decaying

_ENCODER = "encoder."
_STEMS = ("initial_conv", "stem", "stem_orig")


def depth_of(name: str, depths: Sequence[int]) -> int:
    """The depth of a parameter of a classifier or UNet: 0 in the stem, one more per block.

    A convolution between two stages belongs to the block after it; parameters outside the encoder have the largest
    depth. (The published code gives the stem the rate of the head, because it expects another name for it.) Raises
    `ValueError` for an unknown layer of the encoder.
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
    """Parameter groups for an optimiser, by depth and weight decay; rate * `layer_decay` ** (number of layers above).

    Matrices and kernels have weight decay; biases, norms and response norms have none.
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
