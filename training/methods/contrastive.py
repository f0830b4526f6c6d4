"""Contrastive pretraining over sensors: one encoder each, whose views of one place are brought together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.errors import Fatal, unknown_name
from training.architecture import SIZES, Architecture
from training.batch import Batch
from training.config import PretrainConfig
from training.layer import Layer
from training.method import CardText, Exported, Method
from training.model.contrast import contrast, sensor_pairs
from training.model.conv_tower import ConvTower
from training.model.image import image_of
from training.model.recall import recall_at_1
from training.model.tower import Tower, drawn_channels
from training.model.vit import VIT_SIZES, VitArchitecture, known_patches
from training.pretext import JointPretext, Objective
from training.words import listed

# `tower` is the kind of every encoder, and `towers` that of some sensors by name: the size of a ViT, or "convnext:" and
# that of a ConvNeXt V2. In training, between 1 and `channels` (0: all) of those of a sensor are drawn for each chip.
# `temperature` is the first one.
OPTIONS: dict[str, object] = {"tower": "base", "towers": {}, "embedding_width": 512, "channels": 0, "temperature": 0.07}
_CONVNEXT = "convnext:"
_SHARPEST = 100.0  # The largest inverse temperature, as in CLIP.
_TEMPERATURES = (1 / _SHARPEST, 1.0)


class Contrastive(JointPretext):
    """A tower per sensor and a common temperature, see docs/contrastive.md; after Allen et al. 2023.

    `inputs` are the sensors. In training, a chip's channels are drawn from its key; otherwise all are encoded.
    """

    figure_names = ("temperature",)
    encoder: nn.ModuleDict

    def __init__(self, inputs: Sequence[Layer], config: PretrainConfig) -> None:
        super().__init__()
        self.sensors, self._options = tuple(_told(layer, config) for layer in inputs), config.options
        self.loss_names = tuple(f"{inputs[one].name}-{inputs[other].name}" for one, other in sensor_pairs(len(inputs)))
        self.encoder = nn.ModuleDict({layer.name: _tower(layer, config) for layer in self.sensors})
        self.log_scale = nn.Parameter(torch.tensor(-math.log(float(config.options["temperature"]))))

    def represent(self, batch: Batch) -> dict[str, Tensor]:
        """`views` (chips, sensors, embedding_width), of length 1, and whether each is `present` (chips, sensors)."""
        parts = [self._view(index, layer, batch) for index, layer in enumerate(self.sensors)]
        return {
            "views": torch.stack([view for view, _ in parts], dim=1),
            "present": torch.stack([present for _, present in parts], dim=1),
        }

    def joint(self, representations: dict[str, Tensor]) -> Objective:
        """The mean over chips of InfoNCE over their pairs of sensors; `losses` are those of each pair."""
        with torch.no_grad():
            self.log_scale.clamp_(0.0, math.log(_SHARPEST))
        result = contrast(representations["views"], representations["present"], self.log_scale.exp())
        return Objective(result.total, result.pairs.detach(), result.counts > 0)

    def scores(self, representations: dict[str, Tensor]) -> dict[str, Tensor]:
        """For each pair of sensors, how often the nearest view by the other one is that of the same chip."""
        views, present = representations["views"], representations["present"]
        return {f"recall_at_1/{name}": recall_at_1(views, present, pair)
                for name, pair in zip(self.loss_names, sensor_pairs(len(self.sensors)), strict=True)}  # fmt: skip

    def figures(self) -> Tensor:
        """The temperature, (1,)."""
        return torch.exp(-self.log_scale.detach())[None]

    def tower(self, sensor: str) -> Tower | ConvTower:
        """The encoder of a sensor."""
        return cast(Tower | ConvTower, self.encoder[sensor])

    def _view(self, index: int, layer: Layer, batch: Batch) -> tuple[Tensor, Tensor]:
        """The embeddings of a sensor, and which chips have any of it."""
        tower = self.tower(layer.name)
        image = image_of((layer,), batch.values, batch.valid).to(tower.projection.weight.dtype)
        valid = batch.valid[layer.name].repeat_interleave(max(1, layer.classes), dim=1)
        known, chosen = known_patches(valid, tower.patch_px), None
        present = known.flatten(1).any(dim=1)
        if self.training and len(batch.keys):
            most = min(int(self._options["channels"]) or layer.channels, layer.channels)
            chosen, known = drawn_channels(known, batch.keys, index, most)
        return tower.embedding(image, known, chosen), present


def _kind(sensor: str, config: PretrainConfig) -> str:
    return str(config.options["towers"].get(sensor, config.options["tower"]))


def _told(layer: Layer, config: PretrainConfig) -> Layer:
    """The layer as its tower takes it: channels that are missing are no tokens of a ViT, and planes tell a ConvNeXt."""
    return replace(layer, presence="bands") if _kind(layer.name, config).startswith(_CONVNEXT) else layer


def _tower(layer: Layer, config: PretrainConfig) -> Tower | ConvTower:
    kind, width = _kind(layer.name, config), int(config.options["embedding_width"])
    if kind.startswith(_CONVNEXT):
        size = SIZES[kind.removeprefix(_CONVNEXT)]
        shape = Architecture(layer.input_channels, size, config.patch_px, config.stem, config.grn_scope)
        return ConvTower(shape, width, config.init_std)
    return Tower(
        VitArchitecture(layer.channels, VIT_SIZES[kind], config.patch_px, config.image_px, width), config.init_std
    )


def _refuse_strangers(present: Mapping[str, NDArray[np.bool_]]) -> None:
    """Raises `Fatal` where no two chips have two of the sensors, given which train rows have each, (rows,) bool."""
    if np.count_nonzero(np.sum(list(present.values()), axis=0) >= 2) < 2:
        raise Fatal(
            f"fewer than two train chips have data of two of the sensors {', '.join(present)}, so none compare; "
            "name layers that share chips in pretrain.inputs."
        )


def _build(inputs: Sequence[Layer], targets: Sequence[Layer], config: PretrainConfig) -> Contrastive:
    return Contrastive(inputs, config)


def _check(inputs: Sequence[Layer], targets: Sequence[Layer], config: PretrainConfig) -> None:
    """Raises `Fatal` for settings and sensors from which nothing can be learnt."""
    _check_options(config.options)
    _check_towers(inputs, config)
    if len(inputs) < 2:
        raise Fatal(
            f"contrastive pretraining compares sensors, and pretrain.inputs names only {inputs[0].name!r}; "
            "name at least two layers with pixels."
        )
    if config.batch_size < 2:
        raise Fatal("a contrastive loss compares the chips of a batch; set pretrain.batch_size to 2 or more.")
    for layer in inputs:
        _refuse_constant(layer)


def _check_options(options: Mapping[str, object]) -> None:
    low, high = _TEMPERATURES
    if not low <= float(str(options["temperature"])) <= high:
        raise Fatal(f"pretrain.options.temperature must be from {low:g} to {high:g}.")
    if int(str(options["channels"])) < 0 or int(str(options["embedding_width"])) < 1:
        raise Fatal("pretrain.options.channels must be 0 (all) or more, and embedding_width 1 or more.")


def _check_towers(inputs: Sequence[Layer], config: PretrainConfig) -> None:
    names, kinds = [layer.name for layer in inputs], [*VIT_SIZES, *(f"{_CONVNEXT}{size}" for size in SIZES)]
    for sensor in config.options["towers"]:
        if sensor not in names:
            raise unknown_name("sensor of pretrain.options.towers", str(sensor), names)
    for sensor in names:
        if _kind(sensor, config) not in kinds:
            raise unknown_name("pretrain.options.tower", _kind(sensor, config), kinds)


def _refuse_constant(layer: Layer) -> None:
    if layer.constant_bands:
        name = layer.constant_bands[0]
        raise Fatal(
            f"channel {name!r} of sensor {layer.name!r} has the same value everywhere, which tells no place from "
            f"another; leave it out with pretrain.bands.{layer.name}."
        )


def _export(net: Contrastive, inputs: tuple[Layer, ...]) -> Mapping[str, Exported]:
    return {f"encoder-{layer.name}": Exported(net.tower(layer.name), (layer,)) for layer in net.sensors}


def _card(config: PretrainConfig) -> CardText:
    return CardText(
        "by contrast: views of one chip by different sensors are to be told from those of other chips",
        "cross-entropies in nats of finding a chip's view by the other sensor among those of its batch (chance: the "
        "logarithm of their number), means over the first and last steps",
        ("image_px", "patch_px", "spread"),
        f"An encoder for each sensor ({listed([f'{_kind(name, config)} of {name}' for name in config.inputs])})",
        config.inputs[:1],
    )


def _losses_mean(config: PretrainConfig) -> str:
    chips = config.batch_size
    return f"A guess among the {chips} chips of a batch loses {math.log(chips):.2f}; 0 is certain and right."


METHOD = Method(
    build=_build,
    check=_check,
    check_rows=_refuse_strangers,
    options=OPTIONS,
    targets=("@inputs",),
    export=_export,
    card=_card,
    losses_mean=_losses_mean,
)
