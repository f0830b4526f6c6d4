"""Recipes of fine-tuning: length, learning rates, and the part of the encoder that is trained."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from pydantic.functional_validators import ModelWrapValidatorHandler

from pipeline.validation import STRICT, Betas, Count, Fraction, Seed, one_sentence

Fit = Literal["pad", "resize", "crop"]  # images whose edges are no multiple of the patch


@dataclass(frozen=True, config=STRICT)
class Recipe:
    """`blr` is the learning rate for a batch of 256; it is multiplied by `layer_decay` for every layer below the head.

    `frozen` is the fraction of the epochs, from the first, in which the encoder is frozen. `warmup` is the fraction of
    the steps in which the rate rises; then it falls by half a cosine. `smoothing` is label smoothing. `fit` says what
    becomes of images whose edges are no multiple of the patch. Raises `Fatal` for a value of a wrong type or outside
    its range.
    """

    epochs: Count = 100
    batch_size: Count = 64
    blr: Annotated[float, Field(gt=0)] = 2e-4
    weight_decay: Annotated[float, Field(ge=0)] = 0.3
    betas: Betas = (0.9, 0.999)
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 0.9
    drop_path: Fraction = 0.1
    smoothing: Fraction = 0.2
    frozen: Annotated[float, Field(ge=0, le=1)] = 0.0
    warmup: Fraction = 0.0
    fit: Fit = "pad"
    seed: Seed = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @model_validator(mode="wrap")
    @classmethod
    def _in_one_sentence(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        with one_sentence("finetune", [item.name for item in fields(cls)]):
            return handler(data)


# The published protocol for GEO-Bench: fine-tuning, a linear probe of the same length, and segmentation with a UNet
# whose encoder is trained after a quarter of the epochs.
RECIPES: dict[str, Recipe] = {
    "full": Recipe(),
    "linear": Recipe(frozen=1.0, drop_path=0.0),
    "dense": Recipe(epochs=200, batch_size=32, blr=1e-2, smoothing=0.0, frozen=0.25),
}
