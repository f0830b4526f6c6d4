"""The `[finetune]` section of the settings: the encoder, the label layer and the recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Literal, Self

from pydantic import model_validator
from pydantic.dataclasses import dataclass
from pydantic.functional_validators import ModelWrapValidatorHandler

from flows.data_options import DataOptions
from pipeline.errors import Fatal, unknown_name
from pipeline.validation import STRICT, CountOrNone, one_sentence
from training.evaluate.recipe import RECIPES, Recipe

_NEEDED = ("weights", "label")


@dataclass(frozen=True, config=STRICT)
class Task:
    """`weights` is anything that `load_encoder` takes, `label` a layer, or a column of the owner's.

    `per` "chip" learns the most frequent class of a chip, or its means, "pixel" those of each pixel. `image_px` is the
    side of the images in pixels; 0 is the largest that fits. With `data`, such as "geobench:FOLDER/m-eurosat", images
    and labels come from there and not from the corpus; `label` is then a column of a table, the other keys are those of
    `DataOptions`, and random weights are fine-tuned by the same recipe to compare. In both cases linear models of the
    bands and of the frozen encoder stand beside the model; `beside` "none" leaves all of these out.
    """

    weights: str
    label: str
    per: Literal["chip", "pixel"] = "chip"
    image_px: CountOrNone = 0
    data: str = ""
    beside: Literal["random", "none"] = "random"
    data_options: DataOptions = DataOptions()

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
        for name in _NEEDED if not section.get("data") else ("weights",):
            if name not in section:
                raise Fatal(f"finetune.{name} is not set; give finetune.{name}=… as well.")
        settings = dict(section)
        recipe = str(settings.pop("recipe", "full"))
        if recipe not in RECIPES:
            raise unknown_name("finetune.recipe", recipe, RECIPES)
        own, of_recipe, of_data = (
            [item.name for item in fields(kind) if item.name != "data_options"] for kind in (cls, Recipe, DataOptions)
        )
        _refuse_unknown(settings, (*own, *of_recipe, *of_data))
        _refuse_without_data(settings, set(of_data) - set(own))
        options = DataOptions(
            **{name: value for name, value in settings.items() if name in of_data and settings.get("data")}
        )
        task = cls(**{"label": options.label} | {name: value for name, value in settings.items() if name in own},
                   data_options=options)  # fmt: skip
        return task, replace(RECIPES[recipe], **{name: value for name, value in settings.items() if name in of_recipe})


def _refuse_unknown(settings: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for name in settings:
        if name not in known:
            raise unknown_name("setting", f"finetune.{name}", [f"finetune.{each}" for each in (*known, "recipe")])


def _refuse_without_data(settings: Mapping[str, Any], of_data: set[str]) -> None:
    for name in settings:
        if name in of_data and not settings.get("data"):
            raise Fatal(f"finetune.{name} is about images of finetune.data, which is not set; set it, or leave it out.")


def check(section: Mapping[str, Any]) -> None:
    """Raise `Fatal` for a section that `Task.of` would refuse; `weights` and `label` may still be absent."""
    Task.of(dict.fromkeys(_NEEDED, "") | dict(section))
