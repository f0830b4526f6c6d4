"""ImageNet's FCMAE: the ConvNeXt V2 that its authors pretrained without labels, as they or timm publish it.

Files are `convnextv2_SIZE_1k_224_fcmae.pt` with the authors' names, or timm's `convnextv2_SIZE.fcmae` with its own. The
stem is `downsample_layers.0`, or `stem`; kernels may be those of a sparse engine. There is no norm at the end, and no
classifier. Source: facebookresearch/ConvNeXt-V2 (`models/convnextv2.py`, `models/fcmae.py`, `main_finetune.py`) and
`timm/models/convnext.py` of huggingface/pytorch-image-models.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.resources import files

from torch import Tensor

from pipeline.errors import Fatal
from training.architecture import SIZES, Architecture
from training.model.normalisation import Normalisation
from training.weights.pretrained import ASSUMED, Pretrained
from training.weights.published import encoder_of, input_layer
from training.weights.timm_names import from_timm

_CHANNELS, _PATCH_PX = 3, 32
_OF_AUTHORS, _OF_TIMM = re.compile(r"(encoder\.)?downsample_layers\.3\.1\."), re.compile(r"stages\.3\.downsample\.1\.")
_CLASSIFIER = re.compile(r"head\.(fc\.)?weight")


def is_imagenet(state: Mapping[str, Tensor]) -> bool:
    """Whether parameters are called as in such a file, or in one of ConvNeXt that is made like it."""
    return any(_OF_AUTHORS.match(name) or _OF_TIMM.match(name) for name in state)


def read_imagenet(state: Mapping[str, Tensor], name: str) -> Pretrained:
    """The encoder in the state dict of the file `name`, which looks at red, green and blue.

    Raises `Fatal` for a classifier, and for weights of another net.
    """
    if any(_CLASSIFIER.fullmatch(key) for key in state):
        raise Fatal(f"{name} was trained on ImageNet's labels; give the FCMAE weights, which know none.")
    timm = any(_OF_TIMM.match(key) for key in state)
    encoder = encoder_of(_from_timm(state, name) if timm else _from_authors(state), name)
    item = encoder.architecture
    if item.channels != _CHANNELS or item.patch_px != _PATCH_PX or item.size_name is None:
        raise Fatal(
            f"{name} holds {item.summary} of {item.channels} channels, and ImageNet's ConvNeXt V2 has "
            f"{_CHANNELS}, a patch of {_PATCH_PX} px and a published size; use another file."
        )
    return Pretrained(encoder, _inputs(), {"published": name, ASSUMED: True})


def _from_authors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {re.sub(r"downsample_layers\.(\d)", _place, name): item for name, item in state.items()}


def _place(found: re.Match[str]) -> str:
    """Our name: what is ahead of the first stage is the stem."""
    stage = int(found[1])
    return f"downsample_layers.{stage - 1}" if stage else "stem_orig"


def _from_timm(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    try:
        # A size says nothing about names.
        return from_timm(state, Architecture(_CHANNELS, SIZES["atto"], _PATCH_PX, "original"))
    except (StopIteration, KeyError, ValueError, RuntimeError) as error:
        raise Fatal(f"{name} has other layers than timm's ConvNeXt V2; use another file.") from error


def _inputs() -> Normalisation:
    """Numbers that ImageNet's moments make of reflectance."""
    about = json.loads((files("training.weights") / "imagenet_inputs.json").read_text())
    moments = {kind: [value * about["white"] for value in about[kind]] for kind in ("mean", "std")}
    return Normalisation.from_dict([input_layer(about["bands"], dict.fromkeys(about["groups"], moments))])
