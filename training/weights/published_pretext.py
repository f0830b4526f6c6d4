"""The pretext part of published checkpoints in our layout: projection, mask token, decoder, heads and log variances.

There all targets share one decoder, which stands in the file once for each. A head of pixels has its channels last
within (patch row, patch column, channel), where ours, read by `pixel_shuffle`, has them first. The log variances are in
the order of the heads. Source: `models/fcmae.py` and `custom_loss.py` of vishalned/MMEarth-train.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files

from torch import Tensor

from training.weights.channels import Channels

_HEAD, _DECODER, _NORM = "pred_dict.", "decoder_dict.", "layer_norm_tmp."
_LOG_VARIANCES = ("loss_fn.log_vars", "log_vars")
_AS_THEY_ARE = ("proj.weight", "proj.bias", "mask_token")


def pretext_of(state: Mapping[str, Tensor], patch_px: int) -> tuple[dict[str, Tensor], Channels]:
    """Parameters under our names, for the targets whose channels are returned; empty for an encoder alone.

    Heads whose channels are not known, and what does not fit them, are left out.
    """
    plain = {name.removeprefix("module."): value.detach().float() for name, value in state.items()}
    order = list(dict.fromkeys(name.split(".")[1] for name in plain if name.startswith(_HEAD)))
    channels = _known(plain, order, patch_px)
    result = {name: plain[name] for name in _AS_THEY_ARE if name in plain}
    result |= {f"image_norm.{name.removeprefix(_NORM)}": item for name, item in plain.items() if name.startswith(_NORM)}
    result |= _decoder(plain)
    for index, layer in enumerate(channels):
        result |= _head(plain, layer, index, len(channels[layer]))
    variances = next((plain[name] for name in _LOG_VARIANCES if name in plain), None)
    if variances is not None and len(variances) == len(order):
        result["log_variances"] = variances[[order.index(layer) for layer in channels]]
    return result, channels


def _known(plain: Mapping[str, Tensor], order: list[str], patch_px: int) -> Channels:
    """The channels of the heads in the file whose number is that of a layer as it is published."""
    known = json.loads((files("training.weights") / "published_targets.json").read_text())["channels"]
    found = {}
    for layer in order:
        names, size = known.get(layer, ()), len(plain[f"{_HEAD}{layer}.weight"])
        if size in (len(names), len(names) * patch_px**2):
            found[layer] = tuple(names)
    return found


def _decoder(plain: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of the same decoder under the names of all targets, the first."""
    result: dict[str, Tensor] = {}
    for name, item in plain.items():
        if name.startswith(_DECODER):
            rest = name.removeprefix(_DECODER).split(".", 1)[1]
            result.setdefault(f"decoders.0.{rest}", item.reshape(1, 1, 1, -1) if ".grn." in rest else item)
    return result


def _head(plain: Mapping[str, Tensor], layer: str, index: int, channels: int) -> dict[str, Tensor]:
    weight, bias = (plain[f"{_HEAD}{layer}.{part}"] for part in ("weight", "bias"))
    if weight.ndim == 2:  # one value per chip
        return {f"heads.{index}.weight": weight, f"heads.{index}.bias": bias}
    return {
        f"heads.{index}.expand.{part}": item.unflatten(0, (-1, channels)).transpose(0, 1).flatten(0, 1)
        for part, item in (("weight", weight), ("bias", bias))
    }
