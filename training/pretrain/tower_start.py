"""Begins the towers of a net with an encoder that there is: each whose bands it knows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import Fatal
from training.layer import PRESENCE
from training.model.conv_tower import BEYOND
from training.model.encoder import Encoder
from training.model.normalisation import Normalisation
from training.model.tower import Tower
from training.weights.channels import Channels, listed_by_layer
from training.weights.portable import portable
from training.weights.warm_source import WarmSource, inputs_by_layer
from training.words import listed

_ENCODER = "encoder."


@dataclass(frozen=True)
class TowerStart:
    """A tower, called by its sensor, with what it takes of an encoder: its parameters by portable name."""

    sensor: str
    mine: Mapping[str, Tensor]
    theirs: Mapping[str, Tensor]
    fits: bool

    @classmethod
    def of(cls, sensor: str, tower: Encoder | Tower, normalisation: Normalisation, source: WarmSource) -> TowerStart:
        """What fits of `source`, whose encoder may look at more bands than a ConvNeXt; a ViT takes its own alone."""
        inputs = inputs_by_layer(normalisation)
        mine = portable({f"{_ENCODER}{name}": item for name, item in tower.state_dict().items()}, inputs, {})
        theirs = {name: source.parameters[name] for name, item in mine.items() if _is_like(item, source, name)}
        planes = {f"{layer.name} {plane}" for layer in normalisation.layers for plane in layer.planes}
        new = [name for name in mine.keys() - theirs.keys() if not (is_kernel_of(name, planes) or _is_beyond(name))]
        known = bands_of(inputs) <= bands_of(source.inputs) if isinstance(tower, Encoder) else inputs == source.inputs
        return cls(sensor, mine, theirs, known and not new)

    @torch.no_grad()
    def take(self) -> None:
        """Copy it into the tower; kernels of new planes are 0, so that it begins with the features of the source."""
        for name, value in self.mine.items():
            if name in self.theirs:
                value.copy_(self.theirs[name])
            elif not _is_beyond(name):
                value.zero_()


def begin_towers(towers: Iterable[tuple[str, Encoder | Tower, Normalisation]], source: WarmSource) -> str:
    """Give the encoder of `source` to every tower that it fits; returns a sentence without a full stop.

    `towers` have their name in files, as `exports_of` gives them. Raises `Fatal` where it fits none.
    """
    starts = [TowerStart.of(name.removeprefix("encoder-"), tower, inputs, source) for name, tower, inputs in towers]
    taken, others = [item for item in starts if item.fits], [item.sensor for item in starts if not item.fits]
    if not taken:
        raise Fatal(
            f"the encoder in {source.what} ({source.encoder}; it looks at {listed(listed_by_layer(source.inputs))}) "
            "fits no tower of this run; make pretrain.options.tower its kind, such as 'convnext:atto', and "
            "pretrain.patch_px, stem and bands its own, or give other weights in pretrain.init."
        )
    for item in taken:
        item.take()
    new = [f"the encoder of {sensor}" for sensor in others] + ["what the sensors share"]
    ours = listed(tuple(f"the encoder of {item.sensor}" for item in taken))
    rest = f"new are {listed(tuple(new))}; optimiser and schedule begin anew"
    return f"began with the weights of {source.what}: {ours}; {rest}"


def bands_of(channels: Channels) -> set[str]:
    """The channels of layers, without the planes that say what is there."""
    return {name for name in listed_by_layer(channels) if name.split(" ")[1] != PRESENCE}


def is_kernel_of(name: str, channels: Collection[str]) -> bool:
    """Whether a parameter is the kernel of one of these channels."""
    return name.endswith("]") and name.partition("[")[2].removesuffix("]") in channels


def _is_like(mine: Tensor, source: WarmSource, name: str) -> bool:
    return name in source.parameters and source.parameters[name].shape == mine.shape


def _is_beyond(name: str) -> bool:
    return name.removeprefix(_ENCODER).startswith(BEYOND)
