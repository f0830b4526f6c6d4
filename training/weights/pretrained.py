"""An encoder with everything that is needed to use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from training.model.encoder import Encoder
from training.model.normalisation import Normalisation


@dataclass(frozen=True)
class Pretrained:
    """An encoder, the normalisation of its input, and its origin.

    `facts` of files written by geocorpus: its `version`, digest of the `corpus`, `config` of the run, the `step`.
    """

    encoder: Encoder
    normalisation: Normalisation
    facts: Mapping[str, Any] = field(default_factory=dict)
