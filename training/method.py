"""A method of pretraining as a value: what to build from layers, what its options are, what to draw and to export."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import nn

from pipeline.drawing import Picture
from training.config import PretrainConfig
from training.layer import Layer
from training.pretext import Pretext
from training.runtime.device import Device
from training.sample import Sample


class Drawing(Protocol):
    """Draws what a net makes of the same few chips throughout a run."""

    def draw(self, net: Any, device: Device, step: int) -> Picture:
        """Write a picture, and return its pixels (y, x, 3) uint8; net and random state are unchanged."""
        ...


@dataclass(frozen=True)
class CardText:
    """What is a method's on a model card.

    `task` completes "an encoder of ..., pretrained with geocorpus ...", `losses` completes "losses are ...". `settings`
    are the fields of `PretrainConfig` that mean something to this method alone. `net` says what is trained, where it is
    not one ConvNeXt V2, and `takes` which of the inputs the first file of weights takes, where these are not all.
    """

    task: str
    losses: str
    settings: tuple[str, ...] = ()
    net: str = ""
    takes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exported:
    """An encoder that becomes a file of its own, with the layers that it takes."""

    encoder: nn.Module
    inputs: tuple[Layer, ...]


Build = Callable[[Sequence[Layer], Sequence[Layer], PretrainConfig], Pretext]
Check = Callable[[Sequence[Layer], Sequence[Layer], PretrainConfig], None]
CheckRows = Callable[[Mapping[str, NDArray[np.bool_]]], None]
Draw = Callable[[Sample, Sequence[Layer], Sequence[Layer], PretrainConfig, Path], Drawing]
Export = Callable[[Any, tuple[Layer, ...]], Mapping[str, Exported]]


def encoder_alone(net: Pretext, inputs: tuple[Layer, ...]) -> Mapping[str, Exported]:
    """One file, `encoder.safetensors`: the net's `encoder`, which takes all `inputs`."""
    return {"encoder": Exported(net.encoder, inputs)}


def _accept(inputs: Sequence[Layer], targets: Sequence[Layer], config: PretrainConfig) -> None:
    """Any layers and settings will do."""


@dataclass(frozen=True)
class Method:
    """One method of pretraining; a file in training/methods, or a user's own, defines one at its top level.

    `build` makes the net of inputs, targets and configuration; torch's generator is seeded before. `check` raises
    `Fatal` for those that do not fit the method, before a run writes anything. `options` are its own settings in
    `pretrain.options` with their defaults; a configuration that reaches a method has all of them.
    `check_rows`, where given, does so by which train rows have any data of each input, (rows,) bool by name.
    `targets` are the layers that an empty `pretrain.targets` means, as selectors of `training.pretrain.selection`.

    `export` gives the encoders that become files, by name without suffix, of the net and the inputs. `pictures` makes
    what draws a sample into a folder; None for no pictures. `card` says what is the method's on the model card of a
    run with a configuration; None for the barest. `presence` says that its net takes inputs with `Layer.presence`.
    `losses_mean` gives a sentence for people on how to read the losses of a run with a configuration.
    """

    build: Build
    check: Check = _accept
    check_rows: CheckRows | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    targets: tuple[str, ...] = ("@all",)
    export: Export = encoder_alone
    pictures: Draw | None = None
    card: Callable[[PretrainConfig], CardText] | None = None
    presence: bool = False
    losses_mean: Callable[[PretrainConfig], str] | None = None
