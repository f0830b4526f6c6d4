"""How labelled images are read and normalised: the part of `[finetune]`, and of `probe --set`, about `data`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from pydantic.functional_validators import ModelWrapValidatorHandler

from exporters.formats.benchmarks.labelled_images import ReadOptions
from pipeline.errors import Fatal, unknown_name
from pipeline.validation import STRICT, Count, Seed, one_sentence
from training.evaluate.recipe import Fit

_OF_READING = ("bands", "partition", "label", "kind", "ignore")
_NUMBERS = {"unit": float, "folds": int, "seed": int}


@dataclass(frozen=True, config=STRICT)
class DataOptions:
    """`bands` to `ignore` are those of `ReadOptions`.

    `moments` "own" are the data set's, "corpus" those with which the encoder was trained; these need numbers in its
    units, of which one of the files is `unit` (0 as the format says), and the `level` of the images where the encoder
    knows several. Of bands that the data lacks, `absent` "refuse" stops, "mean" takes them as without data.
    """

    bands: str = ""
    partition: str = "default"
    label: str = "label"
    kind: str = ""
    ignore: str = ""
    moments: Literal["own", "corpus"] = "own"
    level: str = ""
    unit: Annotated[float, Field(ge=0)] = 0.0
    absent: Literal["refuse", "mean"] = "refuse"

    @model_validator(mode="wrap")
    @classmethod
    def _in_one_sentence(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        with one_sentence("data", [item.name for item in fields(cls)]):
            return handler(data)

    @property
    def of_reading(self) -> ReadOptions:
        """Those that the format takes."""
        return ReadOptions(**{name: getattr(self, name) for name in _OF_READING})

    def facts(self) -> dict[str, Any]:
        """What belongs into a result."""
        return {name: value for name, value in asdict(self).items() if name not in _OF_READING}


@dataclass(frozen=True, config=STRICT)
class ProbeOptions(DataOptions):
    """What becomes of the size of images, in how many parts those without a test part are divided, and the seed."""

    fit: Fit = "pad"
    folds: Count = 5
    seed: Seed = 0

    @classmethod
    def of_texts(cls, texts: Mapping[str, str]) -> ProbeOptions:
        """From `--set`; raises `Fatal` for an unknown name, or a text that is no such value."""
        known = [item.name for item in fields(cls)]
        for name in texts:
            if name not in known:
                raise unknown_name("--set of probe:", name, known)
        return cls(**{name: _typed(name, text) for name, text in texts.items()})


def _typed(name: str, text: str) -> Any:
    try:
        return _NUMBERS.get(name, str)(text)
    except ValueError as error:
        raise Fatal(f"--set {name}={text} is no number; write one.") from error
