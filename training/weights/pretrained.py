"""An encoder with everything that one needs to use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from training.model.encoder import Encoder
from training.model.normalisation import Normalisation


@dataclass(frozen=True)
class Pretrained:
    """An encoder, what prepares its input, and where it comes from.

    `facts` of our own files: `version` of geocorpus, digest of the `corpus`, the run's `config`, the `step`.
    """

    encoder: Encoder
    normalisation: Normalisation
    facts: Mapping[str, Any] = field(default_factory=dict)
