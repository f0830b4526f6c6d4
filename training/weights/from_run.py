"""The encoder of a pretraining run, from a checkpoint of the whole model and its optimiser."""

from __future__ import annotations

from pathlib import Path

import torch

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

    Raises `Fatal` for a checkpoint that is absent, damaged, or so old that it has no normalisation.
    """
    description = describe(path)
    if "inputs" not in description:
        raise Fatal(f"checkpoint {path} does not say what its encoder looks at; let the run go on, then try again.")
    config = PretrainConfig.from_dict(description["config"])
    normalisation = Normalisation.from_dict(description["inputs"])
    architecture = Architecture(
        normalisation.channels, SIZES[config.encoder], config.patch_px, config.stem, config.grn_scope
    )
    state = {
        name.removeprefix(_ENCODER): item for name, item in read(path)["model"].items() if name.startswith(_ENCODER)
    }
    with torch.device("meta"):
        encoder = Encoder.of(architecture)
    encoder.load_state_dict(state, assign=True)
    facts = {name: description[name] for name in ("corpus", "config", "step")}
    return Pretrained(encoder, normalisation, facts)
