"""Begins a run with weights that there are: what fits is taken by name, and what was not taken is said."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.errors import Fatal
from training.model.encoder import Encoder
from training.model.normalisation import Normalisation
from training.pretext import Pretext
from training.pretrain.exports import exports_of
from training.pretrain.resolved_run import ResolvedRun
from training.pretrain.tower_start import bands_of, begin_towers, is_kernel_of
from training.weights.channels import Channels, channels_of, listed_by_layer
from training.weights.portable import SHARED, portable
from training.weights.warm_source import WarmSource, inputs_by_layer, read_source
from training.words import listed

_ENCODER = "encoder."


@dataclass(frozen=True)
class WarmStart:
    """A net, its parameters by portable name, and those of a source that fit."""

    mine: Mapping[str, Tensor]
    theirs: Mapping[str, Tensor]

    def take(self, nothing_of: Collection[str] = ()) -> None:
        """Copy what fits into the net; new kernels of channels in `nothing_of` are 0, as if there were none."""
        with torch.no_grad():
            for name, value in self.mine.items():
                if name in self.theirs:
                    value.copy_(self.theirs[name])
                elif is_kernel_of(name, nothing_of):
                    value.zero_()

    def sentence(self, what: str) -> str:
        """One line about what was taken and what was not."""
        taken = _parts(self.theirs)
        new = [f"{part} (in part)" if part in taken else part for part in _parts(self.mine.keys() - self.theirs.keys())]
        rest = f"new are {listed(new)}" if new else "nothing is new"
        return f"began with the weights of {what}: {listed(taken)}; {rest}; optimiser and schedule begin anew"


def warm_start(net: Pretext, resolved: ResolvedRun) -> str:
    """Copy the weights of `pretrain.init` into `net`; returns a sentence without a full stop, "" where it is not set.

    Raises `Fatal` for a source that is no weights, or whose encoder has another size or other bands.
    """
    if not resolved.config.init:
        return ""
    source, inputs = read_source(resolved.config.init), inputs_by_layer(Normalisation.of(resolved.inputs))
    if isinstance(net.encoder, nn.ModuleDict) and source.method != resolved.config.method:
        return begin_towers(exports_of(resolved, net), source)
    targets = {
        item.name: channels_of([item.modality.band_names[band] for band in item.bands], item.classes)
        for item in resolved.targets
    }
    mine = portable(net.state_dict(), inputs, targets)
    theirs = _fitting(mine, source, resolved.config.method)
    planes = {f"{layer.name} {plane}" for layer in resolved.inputs for plane in layer.planes}
    same_bands = bands_of(source.inputs) == bands_of(inputs)
    new = [name for name in mine if name.startswith(_ENCODER) and name not in theirs and not is_kernel_of(name, planes)]
    if not same_bands or new:
        raise _other(net, resolved.config.method, source, inputs)
    start = WarmStart(mine, theirs)
    start.take(nothing_of=planes)
    return start.sentence(source.what)


def _fitting(mine: Mapping[str, Tensor], source: WarmSource, method: str) -> dict[str, Tensor]:
    """The parameters of the source that the net has too, in the same shape; of another method, the encoder's alone."""
    same_method = source.method in (None, method)
    result = {}
    for name, value in mine.items():
        found = source.parameters.get(name)
        if found is None and name.startswith("decoders."):
            found = source.parameters.get(".".join(["decoders", SHARED, *name.split(".")[2:]]))
        if found is not None and found.shape == value.shape and (same_method or name.startswith(_ENCODER)):
            result[name] = found
    return result


def _parts(names: Iterable[str]) -> list[str]:
    """The parts of a net to which parameters belong, as one would call them."""
    return sorted({_part(name) for name in names}, key=lambda part: (part != "the encoder", part))


def _part(name: str) -> str:
    first, second = name.split("[")[0].split(".")[0], name.split("[")[0].split(".")[1:2]
    if first == "encoder":
        return "the encoder"
    if first in ("heads", "log_variances"):
        return f"the {'head' if first == 'heads' else 'log variance'} of {second[0]}"
    return "the decoder" if first in ("decoders", "proj", "mask_token", "image_norm") else first


def _other(net: Pretext, method: str, source: WarmSource, inputs: Channels) -> Fatal:
    own = f"that of the method {method!r}"
    ours = net.encoder.architecture.summary if isinstance(net.encoder, Encoder) else own
    if ours != source.encoder:
        alike = "make pretrain.encoder, pretrain.patch_px and pretrain.stem those of the weights, or "
        return Fatal(
            f"the encoder in {source.what} is {source.encoder}, and that of this run {ours}; "
            f"{alike if source.convnext else ''}give other weights in pretrain.init."
        )
    return Fatal(
        f"the weights in {source.what} look at {listed(listed_by_layer(source.inputs))}, and this run at "
        f"{listed(listed_by_layer(inputs))}; make pretrain.inputs and pretrain.bands those of the weights, or give "
        "other weights in pretrain.init."
    )
