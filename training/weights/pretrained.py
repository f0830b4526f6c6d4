"""An encoder with everything that is needed to use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import Fatal
from training.model.conv_tower import ConvTower
from training.model.encoder import Encoder
from training.model.normalisation import Normalisation
from training.model.tower import Tower

ASSUMED = "assumed_moments"  # a fact: moments are not those of the bands, but of what they stand for


@dataclass(frozen=True)
class Pretrained:
    """An encoder, the normalisation of its input, and its origin.

    `encoder` is a ConvNeXt V2, or the ViT or the ConvNeXt V2 of one sensor of contrastive pretraining. All give
    features (rows, width, y / patch_px, x / patch_px) of images (rows, channels, y, x).

    `facts` of files written by geocorpus: its `version`, digest of the `corpus`, `config` of the run, the `step`.
    """

    encoder: Encoder | Tower
    normalisation: Normalisation
    facts: Mapping[str, Any] = field(default_factory=dict)

    def convnext(self, purpose: str) -> Encoder:
        """The encoder, where it is a ConvNeXt V2; raises `Fatal` for another, which `purpose` cannot take."""
        if not isinstance(self.encoder, Encoder):
            raise Fatal(
                f"these weights are {self.encoder.architecture.summary}, which {purpose} does not take; give those of "
                "a ConvNeXt V2 encoder, such as MP-MAE's."
            )
        return self.encoder.alone() if isinstance(self.encoder, ConvTower) else self.encoder
