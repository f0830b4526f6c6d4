"""What a label is called, and its classes with codes and colours, or the units of its numbers."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.modality import Category
from training.data.label import own_label

_GOLDEN = 0.618033988749895  # of a turn of hue: neighbours differ, however many there are


@dataclass(frozen=True)
class Legend:
    """The name of a label, a layer or a column, and its `categories` in the order of the class indices.

    Numbers have no categories, and the `units` of their columns, "" where they are not known.
    """

    label: str
    categories: tuple[Category, ...] = ()
    units: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return tuple(category.name for category in self.categories)

    @classmethod
    def of_names(cls, label: str, names: Sequence[str]) -> Legend:
        """For classes without codes and colours: their indices, and colours of different hue."""
        return cls(label, tuple(Category(index, name, _colour(index)) for index, name in enumerate(names)))

    def to_dict(self) -> dict[str, Any]:
        """JSON values; `from_dict` gives the same legend back."""
        categories = [vars(category) for category in self.categories]
        return {"label": self.label, "categories": categories} | ({"units": list(self.units)} if self.units else {})

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Legend:
        """The legend that `to_dict` described."""
        categories = tuple(Category(**category) for category in data["categories"])
        return cls(data["label"], categories, tuple(data.get("units", ())))


def has_classes(corpus: Corpus, label: str) -> bool:
    """Whether a layer, or a column that the owner brought, is of classes and not of numbers."""
    own = own_label(corpus, label)
    return bool(corpus.modality(label).categories if own is None else own.classes)


def legend_of_numbers(corpus: Corpus, label: str, names: Sequence[str]) -> Legend:
    """The legend of the columns `names` of a label of numbers: units are those of the layer's bands of these names."""
    bands = corpus.modality(label).bands if own_label(corpus, label) is None else ()
    units = {band.name: band.units for band in bands}
    return Legend(label, units=tuple(units.get(name, "") for name in names))


def legend_of(corpus: Corpus, label: str) -> Legend:
    """The legend of a layer, or of a column that the owner brought; raises `Fatal` for a label without classes."""
    own = own_label(corpus, label)
    if own is None:
        categories = corpus.modality(label).categories
        if not categories:
            raise Fatal(f"modality {label!r} has no classes; choose a categorical one as the label.")
        return Legend(label, categories)
    if not own.classes:
        raise Fatal(f"column {label!r} holds numbers; choose one of classes (text, booleans, whole numbers).")
    return Legend.of_names(label, own.classes)


def _colour(index: int) -> str:
    red, green, blue = colorsys.hsv_to_rgb(index * _GOLDEN % 1, 0.65, 0.9)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
