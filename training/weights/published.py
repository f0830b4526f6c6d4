"""Converts the published checkpoints of MMEarth, made by a sparse engine, to weights of our encoder.

A sparse kernel is (k*k, in, out), a depthwise one (k*k, channels); its first axis runs along y first, so the two
spatial axes are swapped. Norms have a submodule `ln`, point-wise layers a `linear`; response norms and biases are
(1, channels). A 1x1 convolution with stride 1, the original stem at patch 8, is an (in, out) matrix. Dense checkpoints
of the same code differ only in names. Source: vishalned/MMEarth-train and the MinkowskiEngine fork that it builds
(`src/kernel_region.hpp` has the order of the positions in a kernel).
"""

from __future__ import annotations

import argparse
import json
import math
import pathlib
import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import Fatal
from pipeline.modality import Modality
from training.architecture import STAGES, Architecture, Geometry, Size
from training.model.encoder import Encoder
from training.model.normalisation import Normalisation

# Parts of the published model for the pretext tasks, and for the classifier of fine-tuned models.
_PRETEXT = ("decoder", "mask_token", "proj", "pred", "layer_norm_tmp", "loss_fn", "log_var")
_HEAD = re.compile(r"(norm|head)\.(weight|bias)")


def of_published(state: Mapping[str, Tensor], name: str) -> tuple[Encoder, Normalisation]:
    """The encoder in the state dict of `name`, a published checkpoint, with the bands and moments of its inputs.

    Raises `Fatal` for a file that is not such a checkpoint, whose weights do not fit, or whose inputs are unknown.
    """
    encoder = encoder_of(state, name)
    return encoder, inputs_of(encoder.architecture.channels)


def encoder_of(state: Mapping[str, Tensor], name: str = "the checkpoint", geometry: Geometry = "sparse") -> Encoder:
    """An encoder with the weights of a published state dict; size, stem and patch follow from the shapes.

    Raises `Fatal` for a state dict that does not fit.
    """
    dense = to_dense(state)
    architecture = replace(_architecture(dense, name), geometry=geometry)
    with torch.device("meta"):
        encoder = Encoder.of(architecture)
    _refuse_other(dense, encoder.state_dict(), name)
    encoder.load_state_dict(dense, assign=True)
    return encoder


def to_dense(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's part of a published state dict, sparse or dense, with our names and shapes, float32."""
    result = {}
    for name, value in state.items():
        name = name.removeprefix("module.")
        if any(part in name for part in _PRETEXT) or _HEAD.fullmatch(name):
            continue
        name, value = _dense_parameter(name.removeprefix("encoder."), value)
        result[name] = value.detach().clone().float()
    return result


def _dense_parameter(name: str, value: Tensor) -> tuple[str, Tensor]:
    name = name.replace(".ln.", ".").replace(".linear.", ".")
    if name.endswith(".kernel"):
        name = f"{name.removesuffix('kernel')}weight"
        return name, _depthwise(value) if _is_depthwise(name) else _full(value)
    if ".grn." in name:
        return name, value.reshape(1, 1, 1, -1)
    return name, value.flatten() if name.endswith(".bias") else value


def _is_depthwise(name: str) -> bool:
    return ".dwconv." in name or name.startswith("stem.")


def _full(kernel: Tensor) -> Tensor:
    """A kernel (k*k, in, out), or (in, out) for a 1x1 kernel, as (out, in, y, x)."""
    positions = kernel if kernel.ndim == 3 else kernel[None]
    side = math.isqrt(len(positions))
    return positions.permute(2, 1, 0).unflatten(2, (side, side)).transpose(2, 3).contiguous()


def _depthwise(kernel: Tensor) -> Tensor:
    """A depthwise kernel (k*k, channels) as (channels, 1, y, x)."""
    side = math.isqrt(len(kernel))
    return kernel.T.unflatten(1, (side, side)).transpose(1, 2)[:, None].contiguous()


def _architecture(dense: Mapping[str, Tensor], name: str) -> Architecture:
    stem, first, strided = (
        ("original", "stem_orig.0.weight", "stem_orig.0.weight")
        if "stem_orig.0.weight" in dense
        else ("modified", "initial_conv.0.weight", "stem.0.weight")
    )
    widths = [dense.get(f"stages.{stage}.0.norm.weight") for stage in range(STAGES)]
    if first not in dense or strided not in dense or any(item is None for item in widths):
        raise Fatal(f"{name} holds no published MMEarth encoder, nor ImageNet's FCMAE; give a file with such weights.")
    depths = tuple(len({key.split(".")[2] for key in dense if key.startswith(f"stages.{stage}.")})
                   for stage in range(STAGES))  # fmt: skip
    size = Size(depths, tuple(len(item) for item in widths if item is not None))  # type: ignore[arg-type]
    patch_px = dense[strided].shape[-1] * 2 ** (STAGES - 1)
    return Architecture(dense[first].shape[1], size, patch_px, "original" if stem == "original" else "modified")


def _refuse_other(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], name: str) -> None:
    unmatched = sorted(state.keys() ^ wanted.keys())
    if unmatched:
        raise Fatal(
            f"{name} does not fit an encoder: {unmatched[0]!r} is {_where(unmatched[0], state)}; use another file."
        )
    for key, item in wanted.items():
        if state[key].shape != item.shape:
            shapes = f"{tuple(state[key].shape)} where {tuple(item.shape)} belongs"
            raise Fatal(f"{name} does not fit an encoder: {key!r} has shape {shapes}; use another file.")


def _where(key: str, state: Mapping[str, Tensor]) -> str:
    return "in the file and in no encoder" if key in state else "missing"


def inputs_of(channels: int) -> Normalisation:
    """The bands and moments of published checkpoints with that many input channels.

    Raises `Fatal` for another number of channels.
    """
    description = _inputs()
    if str(channels) not in description["inputs"]:
        known = " or ".join(description["inputs"])
        raise Fatal(f"no published checkpoint is known to have {channels} input channels; use one with {known}.")
    names = description["inputs"][str(channels)]
    indices = [description["bands"].index(item) for item in names]
    groups = {
        group: {kind: [values[index] for index in indices] for kind, values in of_kind.items()}
        for group, of_kind in description["groups"].items()
    }
    return Normalisation.from_dict([input_layer(names, groups)])


@cache
def _inputs() -> dict[str, Any]:
    return dict(json.loads((files("training.weights") / "published_inputs.json").read_text()))


def input_layer(bands: Sequence[str], groups: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    """A layer of `Normalisation.from_dict`: bands of Sentinel-2, with `mean` and `std` of stored numbers by level."""
    named = {"bands": [{"name": item} for item in bands]}
    modality = Modality.from_specification(_inputs()["modality"] | named).specification()
    has_data = {"has_data": [True] * len(bands)}
    return {"modality": modality, "groups": {group: {**moments, **has_data} for group, moments in groups.items()}}


def state_of(path: Path) -> Mapping[str, Tensor]:
    """The state dict of the model, read without running code from the file."""
    allowed: list[Any] = [argparse.Namespace, pathlib.PosixPath]
    try:
        with torch.serialization.safe_globals(allowed):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise Fatal(f"cannot read {path}: {error.strerror or error}.") from error
    except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise Fatal(f"{path} is no checkpoint that can be read safely; give one with tensors only.") from error
    state = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(item, Tensor) for item in state.values()):
        raise Fatal(f"{path} holds no model; give a checkpoint with a `model` of named tensors.")
    return state
