"""Converts names and shapes of a ConvNeXt V2 between ours and timm's; timm itself is not needed.

Source: `timm/models/convnext.py`, `timm/layers/{grn,mlp}.py` of huggingface/pytorch-image-models (1.0). timm's stem is
one convolution and a norm, `stem.0` and `stem.1`: our original stem. The modified stem is numbered as in an
`nn.Sequential` of its layers (convolution, norm, GELU, convolution, norm), which can replace `model.stem`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from training.architecture import Architecture, Stem

# The sizes for which timm has the two point-wise layers of a block as 1x1 convolutions.
_CONVOLUTIONS = ("atto", "femto", "pico", "nano")

_BLOCK = {"dwconv": "conv_dw", "norm": "norm", "pwconv1": "mlp.fc1", "grn": "mlp.grn", "pwconv2": "mlp.fc2"}
_GRN = {"gamma": "weight", "beta": "bias"}
_HEAD = {"norm": "head.norm", "head": "head.fc"}
_STEMS: dict[Stem, dict[str, str]] = {
    "original": {"stem_orig.0": "stem.0", "stem_orig.1": "stem.1"},
    "modified": {"initial_conv.0": "stem.0", "initial_conv.1": "stem.1", "stem.0": "stem.3", "stem.1": "stem.4"},
}


def to_timm(state: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """The state of an encoder, and `norm` and `head` of a classifier if present, with timm's names and shapes."""
    return {_timm_name(name, architecture.stem): _timm_shape(name, item, architecture) for name, item in state.items()}


def from_timm(state: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """The inverse of `to_timm`."""
    result = {}
    for name, item in state.items():
        ours = _our_name(name, architecture.stem)
        result[ours] = _our_shape(ours, item)
    return result


def _timm_name(name: str, stem: Stem) -> str:
    module, parameter = name.rsplit(".", 1)
    if module in _STEMS[stem]:
        return f"{_STEMS[stem][module]}.{parameter}"
    if module in _HEAD:
        return f"{_HEAD[module]}.{parameter}"
    if down := re.fullmatch(r"downsample_layers\.(\d+)\.(\d+)", module):
        return f"stages.{int(down[1]) + 1}.downsample.{down[2]}.{parameter}"
    _, stage, block, part = module.split(".")
    parameter = _GRN[parameter] if part == "grn" else parameter
    return f"stages.{stage}.blocks.{block}.{_BLOCK[part]}.{parameter}"


def _our_name(name: str, stem: Stem) -> str:
    module, parameter = name.rsplit(".", 1)
    for table in (_STEMS[stem], _HEAD):
        for ours, theirs in table.items():
            if theirs == module:
                return f"{ours}.{parameter}"
    if down := re.fullmatch(r"stages\.(\d+)\.downsample\.(\d+)", module):
        return f"downsample_layers.{int(down[1]) - 1}.{down[2]}.{parameter}"
    _, stage, _, block, part = module.split(".", 4)
    ours = next(item for item, theirs in _BLOCK.items() if theirs == part)
    parameter = {theirs: own for own, theirs in _GRN.items()}[parameter] if ours == "grn" else parameter
    return f"stages.{stage}.{block}.{ours}.{parameter}"


def _timm_shape(name: str, value: Tensor, architecture: Architecture) -> Tensor:
    if ".grn." in name:
        return value.flatten()
    if ".pwconv" in name and value.ndim == 2 and architecture.size_name in _CONVOLUTIONS:
        return value[:, :, None, None]
    return value


def _our_shape(name: str, value: Tensor) -> Tensor:
    if ".grn." in name:
        return value.reshape(1, 1, 1, -1)
    return value.flatten(1) if ".pwconv" in name and value.ndim == 4 else value


Fit = Literal["as it is", "with patch_size", "with its stem replaced"]


def fit(architecture: Architecture) -> Fit:
    """How timm's `convnextv2_*` of this size can load the weights.

    With a stem stride of 2, timm halves the resolution once more; with 8 or more, its last stage does not halve it. So
    our patches of 16 px, those of 64 px and more, and every modified stem need `model.stem` replaced. Other strides
    are set by `patch_size`, whose default is 4.
    """
    stride = architecture.stem_stride
    if architecture.stem == "modified" or stride == 2 or stride >= 8:
        return "with its stem replaced"
    return "as it is" if stride == 4 else "with patch_size"
