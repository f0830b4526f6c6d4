"""The encoder of a pretraining run, from a checkpoint of the whole model and its optimiser."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import Fatal
from training.architecture import SIZES, Architecture
from training.config import PretrainConfig
from training.model.encoder import Encoder
from training.model.normalisation import Normalisation
from training.weights.checkpoint import CHECKPOINTS, complete, describe, read
from training.weights.pretrained import Pretrained

_ENCODER = "encoder."


def newest_checkpoint(run_folder: Path) -> Path | None:
    """The newest complete checkpoint in the folder of a run, None where there is none."""
    paths = complete(run_folder / CHECKPOINTS)
    return paths[-1] if paths else None


def from_checkpoint(path: Path) -> Pretrained:
    """The encoder of one of our own checkpoints, with the normalisation and the facts of its run.

    Raises `Fatal` for a checkpoint that is absent, damaged, of a method with other encoders, or so old that it has no
    normalisation.
    """
    description = describe(path)
    if "inputs" not in description:
        raise Fatal(f"checkpoint {path} does not say what its encoder looks at; let the run go on, then try again.")
    config = PretrainConfig.from_dict(description["config"])
    normalisation = Normalisation.from_dict(description["inputs"])
    architecture = Architecture(
        normalisation.channels, SIZES[config.encoder], config.patch_px, config.stem, config.grn_scope
    )
    state = read(path)
    weights = state.get("ema", state["model"])  # The average of a run that keeps one, as in the file it ends with.
    of_encoder = {name.removeprefix(_ENCODER): item for name, item in weights.items() if name.startswith(_ENCODER)}
    encoder = _filled(architecture, of_encoder, path, config.method)
    return Pretrained(encoder, normalisation, facts_of(path))


def facts_of(path: Path) -> dict[str, Any]:
    """What weights say of the run whose checkpoint is at `path`: digest of its `corpus`, its `config`, the `step`."""
    description = describe(path)
    return {name: description[name] for name in ("corpus", "config", "step")}


def _filled(architecture: Architecture, state: Mapping[str, Tensor], path: Path, method: str) -> Encoder:
    with torch.device("meta"):
        encoder = Encoder.of(architecture)
    try:
        encoder.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise Fatal(
            f"checkpoint {path} is of a run of method {method!r}, which keeps no such encoder; give the file of "
            "weights that the run ends with."
        ) from error
    return encoder
