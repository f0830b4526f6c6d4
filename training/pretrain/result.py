"""The result of a pretraining run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from training.pretrain.skipped_steps import SkippedStep
from training.pretrain.validation import Validated


@dataclass(frozen=True)
class PretrainResult:
    """Losses are unweighted means per target over the first and last steps (at most 20 each), for targets with data.

    `checkpoint` is the path of the last one, `weights` that of the encoder alone (of several, in `files`, the
    first). `samples_per_s` is of this call, 0 where no steps were left. `skipped` are the steps that changed no
    weight, of all calls. `validations` are what was found on `val_chips` val chips during the run, oldest first.
    `losses_mean` is what the method says of its losses.
    """

    steps: int
    first_losses: Mapping[str, float]
    last_losses: Mapping[str, float]
    checkpoint: Path
    weights: Path
    samples_per_s: float
    skipped: tuple[SkippedStep, ...] = ()
    validations: tuple[Validated, ...] = ()
    val_chips: int = 0
    losses_mean: str = ""
    files: tuple[Path, ...] = ()
