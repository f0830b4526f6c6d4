"""The `[finetune]` section of the settings: the encoder, the label layer and the recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Literal, Self

from pydantic import model_validator
from pydantic.dataclasses import dataclass
from pydantic.functional_validators import ModelWrapValidatorHandler

from pipeline.errors import Fatal, unknown_name
from pipeline.validation import STRICT, CountOrNone, one_sentence
from training.evaluate.recipe import RECIPES, Recipe

_NEEDED = ("weights", "label")


@dataclass(frozen=True, config=STRICT)
class Task:
    """`weights` is anything that `load_encoder` takes, `label` a layer with classes.

    `per` "chip" learns the most frequent class of a chip, "pixel" a class per pixel. `image_px` is the side of the
    images in pixels; 0 is the largest that fits.
    """

    weights: str
    label: str
    per: Literal["chip", "pixel"] = "chip"
    image_px: CountOrNone = 0

    @model_validator(mode="wrap")
    @classmethod
    def _in_one_sentence(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        with one_sentence("finetune", [item.name for item in fields(cls)]):
            return handler(data)

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> tuple[Task, Recipe]:
        """The task and the recipe from TOML values.

        `recipe` names one of `RECIPES`. A key that is no field of a task is a field of `Recipe`, and overrides it.
        Raises `Fatal` for an unknown key or recipe, a value of another type or outside its range, and when `weights`
        or `label` is not set.
        """
        for name in _NEEDED:
            if name not in section:
                raise Fatal(f"finetune.{name} is not set; give finetune.{name}=… as well.")
        settings = dict(section)
        recipe = str(settings.pop("recipe", "full"))
        if recipe not in RECIPES:
            raise unknown_name("finetune.recipe", recipe, RECIPES)
        own, of_recipe = ([item.name for item in fields(kind)] for kind in (cls, Recipe))
        for name in settings:
            if name not in (*own, *of_recipe):
                known = [f"finetune.{each}" for each in (*own, *of_recipe, "recipe")]
                raise unknown_name("setting", f"finetune.{name}", known)
        task = cls(**{name: value for name, value in settings.items() if name in own})
        return task, replace(RECIPES[recipe], **{name: value for name, value in settings.items() if name in of_recipe})


def check(section: Mapping[str, Any]) -> None:
    """Raise `Fatal` for a section that `Task.of` would refuse; `weights` and `label` may still be absent."""
    Task.of(dict.fromkeys(_NEEDED, "") | dict(section))
