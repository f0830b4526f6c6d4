"""Labelled images that stay in files: read one at a time, with bands by name and parts for training and testing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Fatal

EVERY = "all"  # the part of images that nobody divided
# Other words for the parts, as folders and tables have them.
PARTS = {"train": "train", "training": "train", "val": "valid", "valid": "valid", "validation": "valid", "test": "test"}
Image = NDArray[np.float32]
Read = Callable[[int], tuple[Image, NDArray[Any]]]


@dataclass(frozen=True)
class LabelledImages:
    """`read` gives image i, (bands, y, x) float32 with NaN for no data, and its label, of `kind`.

    `names` are the classes, labels or columns; class indices are -1 where there is none. `parts` are the indices of
    "train", "valid" and "test", or of "all". `bands` are names; `by_position` says that nobody wrote them down in the
    files. `fills` are bands that the protocol takes from others. `unit` is the physical value of one, such as
    reflectance; None where unknown. `moments` are mean and deviation by band, where the format brings them. `facts`
    belong into every result.
    """

    name: str
    kind: str
    names: tuple[str, ...]
    bands: tuple[str, ...]
    parts: Mapping[str, tuple[int, ...]]
    read: Read
    by_position: bool = False
    fills: Mapping[str, str] = field(default_factory=dict)
    unit: float | None = None
    moments: Mapping[str, tuple[float, float]] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not any(self.parts.values()):
            raise Fatal(f"{self.name} has no labelled images; check the path.")
        for part, indices in self.parts.items():
            if not indices and part != "valid":
                raise Fatal(f"{self.name} has no images in its part {part!r}; add some, or choose another partition.")

    def channels(self, wanted: tuple[str, ...]) -> tuple[tuple[int | None, ...], tuple[str, ...]]:
        """The position of each wanted band in the images, None for those that are not there, and what these are."""
        names = [self.fills.get(name, name) if name not in self.bands else name for name in wanted]
        places = tuple(self.bands.index(name) if name in self.bands else None for name in names)
        return places, tuple(name for name, place in zip(wanted, places, strict=True) if place is None)


@dataclass(frozen=True)
class ReadOptions:
    """How a data set is read; each format uses those that it has.

    `bands` is "corrected" or "published" of GEO-Bench, or names, separated by commas, of images that do not name
    theirs. `partition` is that of GEO-Bench, such as "0.05x_train". `label` is the column of a table, or several,
    separated by commas; `kind` says what its numbers are. `ignore` are codes, separated by commas, of pixels that count
    as unlabelled.
    """

    bands: str = ""
    partition: str = "default"
    label: str = "label"
    kind: str = ""
    ignore: str = ""

    @property
    def ignored(self) -> tuple[int, ...]:
        """The codes to ignore; raises `Fatal` for what is no list of whole numbers."""
        try:
            return tuple(int(code) for code in self.ignore.split(",") if code.strip())
        except ValueError as error:
            raise Fatal(
                f"ignore={self.ignore} is no list of codes; write whole numbers, such as ignore=0,255."
            ) from error
