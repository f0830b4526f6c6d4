"""What `predict` shows of a fine-tuned model: classes, probabilities or numbers, as a layer and its stored values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flows.map_layers import class_layer, codes_of, number_layer, probability_layer
from pipeline.errors import Fatal, unknown_name
from pipeline.modality import Extent, Modality

if TYPE_CHECKING:
    from training.evaluate.finetuned import Finetuned
    from training.evaluate.legend import Legend

Estimates = NDArray[np.float32]


@dataclass(frozen=True)
class Predicted:
    """The `layer` that is shown, and its `stored` values (rows, bands[, y, x]) of `Finetuned.estimates`."""

    layer: Modality
    stored: Callable[[Estimates], NDArray[Any]]


@dataclass(frozen=True)
class _Asked:
    """A model with the name of its file, and whether its answers are of pixels."""

    tuned: Finetuned
    origin: str
    extent: Extent

    @property
    def legend(self) -> Legend:
        """The model's own; names that it has itself where its file has none."""
        from training.evaluate.legend import Legend

        if self.tuned.legend is not None:
            return self.tuned.legend
        return Legend.of_names("label" if self.tuned.task.shows[0] == "number" else "class", self.tuned.classes)


def predicted(tuned: Finetuned, show: str | None, origin: str, extent: Extent) -> Predicted:
    """What is shown of a model from the file `origin`; what is usual for its kind of labels where `show` is None.

    Raises `Fatal` for another word, and for one that this kind of labels does not have.
    """
    word = show or tuned.task.shows[0]
    if word not in _SHOWN:
        raise unknown_name("value of --show:", word, _SHOWN)
    if word not in tuned.task.shows:
        able = " or ".join(tuned.task.shows)
        raise Fatal(f"{origin} is of {tuned.task.kind} labels, which have no {word} to show; it shows {able}.")
    return _SHOWN[word](_Asked(tuned, origin, extent))


def _class(asked: _Asked) -> Predicted:
    from training.evaluate.maps import classes_of

    layer = class_layer(asked.legend.label, asked.legend.categories, asked.extent, asked.origin)
    return Predicted(layer, lambda values: codes_of(layer, classes_of(values))[:, None])


def _probability(asked: _Asked) -> Predicted:
    layer = probability_layer(asked.legend.label, asked.legend.categories, asked.extent, asked.origin)
    return Predicted(layer, lambda values: values)


def _number(asked: _Asked) -> Predicted:
    legend = asked.legend
    layer = number_layer(legend.label, asked.tuned.classes, legend.units, asked.extent, asked.origin)
    return Predicted(layer, lambda values: values)


_SHOWN: dict[str, Callable[[_Asked], Predicted]] = {
    "class": _class, "probability": _probability, "number": _number,
}  # fmt: skip
