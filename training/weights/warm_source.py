"""Weights to begin a run with: of one of our runs or encoders, or of a published checkpoint with all that it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from pipeline import arguments
from training.architecture import SIZES, Architecture
from training.config import PretrainConfig
from training.model.encoder import Encoder
from training.model.normalisation import Normalisation
from training.weights.channels import Channels, channels_of
from training.weights.checkpoint import describe, read
from training.weights.from_run import newest_checkpoint
from training.weights.portable import FIRST, portable
from training.weights.published import encoder_of, inputs_of, state_of
from training.weights.published_pretext import pretext_of
from training.weights.weights import PICKLED, load_encoder, located

_ENCODER = "encoder."


@dataclass(frozen=True)
class WarmSource:
    """Parameters by portable name, and what they are of: `what` and `encoder` in words, the method (None: any).

    `convnext` says whether the encoder is a ConvNeXt V2, whose size, stem and patch are settings of MP-MAE.
    """

    what: str
    method: str | None
    encoder: str
    inputs: Channels
    parameters: Mapping[str, Tensor]
    convnext: bool = True


def read_source(source: str) -> WarmSource:
    """The weights at `source`: a run's folder, a checkpoint, a .safetensors, a published .pth, or an https address.

    Raises `Fatal` for any other source, and `Transient` where a server does not answer.
    """
    folder = arguments.path("pretrain.init", source) if "://" not in source else None
    path = newest_checkpoint(folder) if folder is not None and folder.is_dir() else None
    path = path or located(source, None)
    if path.suffix == ".pt" and path.with_suffix(".json").exists():
        return _of_run(source, path)
    return _of_published(source, path) if path.suffix in PICKLED else _of_encoder(source, path)


def inputs_by_layer(normalisation: Normalisation) -> Channels:
    """The channels of the image that it makes."""
    return {
        layer.name: (
            *channels_of(layer.modality.band_names, layer.classes), *layer.planes
        ) for layer in normalisation.layers
    }  # fmt: skip


def _of_run(source: str, path: Path) -> WarmSource:
    description, state = describe(path), read(path)["model"]
    config = PretrainConfig.from_dict(description["config"])
    normalisation = Normalisation.from_dict(description["inputs"])
    inputs = inputs_by_layer(normalisation)
    shape = Architecture(normalisation.channels, SIZES[config.encoder], config.patch_px, config.stem)
    targets = {
        name: channels_of(_described(description, name), _classes(state, index, _described(description, name), config))
        for index, name in enumerate(config.targets)
    }
    convnext = any(name in state for name in FIRST)
    encoder = shape.summary if convnext else f"that of the method {config.method!r}"
    what = f"{source} (step {description['step']:,})"
    return WarmSource(what, config.method, encoder, inputs, portable(state, inputs, targets), convnext)


def _described(description: Mapping[str, Any], name: str) -> list[str]:
    bands: list[str] = description["layers"][name]["bands"]
    return bands


def _classes(state: Mapping[str, Tensor], index: int, bands: Sequence[str], config: PretrainConfig) -> int:
    """The classes of a target, as the size of its head tells; 0 for numbers, and where there is no head."""
    of_pixels, of_chips = (state.get(f"heads.{index}.{name}") for name in ("expand.bias", "bias"))
    size = (
        len(of_pixels) // config.patch_px**2 if of_pixels is not None else len(of_chips) if of_chips is not None else 0
    )
    return size // len(bands) if size > len(bands) else 0


def _of_published(source: str, path: Path) -> WarmSource:
    state = state_of(path)
    encoder = encoder_of(state, str(path))
    inputs = inputs_by_layer(inputs_of(encoder.architecture.channels))
    pretext, targets = pretext_of(state, encoder.architecture.patch_px)
    whole = {f"{_ENCODER}{name}": item for name, item in encoder.state_dict().items()} | pretext
    return WarmSource(source, "mpmae", encoder.architecture.summary, inputs, portable(whole, inputs, targets))


def _of_encoder(source: str, path: Path) -> WarmSource:
    pretrained = load_encoder(path)
    encoder, inputs = pretrained.encoder, inputs_by_layer(pretrained.normalisation)
    state = {f"{_ENCODER}{name}": item for name, item in encoder.state_dict().items()}
    convnext = isinstance(encoder, Encoder)
    return WarmSource(source, None, encoder.architecture.summary, inputs, portable(state, inputs, {}), convnext)
