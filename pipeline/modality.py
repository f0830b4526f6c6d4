"""What a layer is: bands, units, dtype, nodata, classes, extent, time rule. Refuses nonsense when it is made."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Fatal

Extent = Literal["pixel", "image"]
Kind = Literal["continuous", "categorical"]
Resampling = Literal["nearest", "bilinear"]
Style = Literal["rgb", "grey", "hillshade", "classes", "none"]


@dataclass(frozen=True)
class Band:
    """One channel: its name in the source and the units of its physical value (UDUNITS; "1" for none)."""

    name: str
    units: str = "1"
    long_name: str = ""


@dataclass(frozen=True)
class Category:
    """One legal value of a categorical layer, with the colour that its documentation draws it in."""

    code: int
    name: str
    colour: str = "#888888"


@dataclass(frozen=True)
class Display:
    """How a person would want to see it: which bands, and the physical values drawn darkest and lightest."""

    style: Style = "none"
    bands: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0


@dataclass(frozen=True)
class Modality:
    """A layer of the corpus.

    Stored values are `dtype`; physical = stored * scale + offset. `nodata` is a stored value that no datum has.
    `valid_range` bounds the stored data (quality check, histogram). `statistics_by` names the manifest column
    within whose values statistics are kept apart (processing levels differ as sensors do).
    `patch_normalised` asks a trainer to normalise targets per patch. `source` says how an exporter pulls it: it
    is opaque here, and not part of the specification that is stored and compared.
    """

    name: str
    title: str
    bands: tuple[Band, ...]
    dtype: str
    nodata: float
    extent: Extent = "pixel"
    categories: tuple[Category, ...] = ()
    resampling: Resampling = "nearest"
    scale: float = 1.0
    offset: float = 0.0
    valid_range: tuple[float, float] | None = None
    time_rule: str = "static"
    assets: tuple[str, ...] = ()
    reference: str = ""
    statistics_by: str | None = None
    patch_normalised: bool = False
    display: Display = field(default_factory=Display)
    source: Any = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if math.isnan(self.nodata):
            # One NaN object, so that equal modalities compare equal.
            object.__setattr__(self, "nodata", math.nan)
        _check(self)

    @property
    def kind(self) -> Kind:
        """Categorical exactly if it has categories."""
        return "categorical" if self.categories else "continuous"

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names in storage order."""
        return tuple(band.name for band in self.bands)

    @property
    def codes(self) -> tuple[int, ...]:
        """Legal stored values of a categorical layer, in order; their positions are class indices."""
        return tuple(category.code for category in self.categories)

    @property
    def fill(self) -> np.generic:
        """`nodata` as a scalar of the stored dtype."""
        return np.dtype(self.dtype).type(self.nodata)

    def shape(self, size_px: int) -> tuple[int, ...]:
        """Shape of one chip: (bands, size_px, size_px), or (bands,) at image level."""
        return (len(self.bands), size_px, size_px) if self.extent == "pixel" else (len(self.bands),)

    def valid(self, stored: NDArray[Any]) -> NDArray[np.bool_]:
        """True where stored values are data."""
        if math.isnan(self.nodata):
            return ~np.isnan(stored)
        return np.asarray(stored != self.fill)

    def physical(self, stored: NDArray[Any]) -> NDArray[np.float64]:
        """Values in the bands' units as float64, NaN where nodata."""
        values = stored.astype(np.float64) * self.scale + self.offset
        return np.where(self.valid(stored), values, np.nan)

    def with_categories(self, categories: Sequence[Category]) -> Modality:
        """The same layer with another class table."""
        return replace(self, categories=tuple(categories))

    def specification(self) -> dict[str, Any]:
        """Everything but the source, as JSON; `from_specification` gives the same modality back."""
        data = {name: getattr(self, name) for name in _PLAIN}
        data["nodata"] = "NaN" if math.isnan(self.nodata) else self.nodata
        data["bands"] = [vars(band) for band in self.bands]
        data["categories"] = [vars(category) for category in self.categories]
        data["display"] = vars(self.display) | {"bands": list(self.display.bands)}
        data["assets"] = list(self.assets)
        data["valid_range"] = list(self.valid_range) if self.valid_range else None
        return data

    @classmethod
    def from_specification(cls, plain: Mapping[str, Any]) -> Modality:
        """The modality that `specification` described."""
        known = {name: plain[name] for name in _PLAIN if name in plain}
        known["nodata"] = math.nan if plain["nodata"] == "NaN" else plain["nodata"]
        known["bands"] = tuple(Band(**band) for band in plain["bands"])
        known["categories"] = tuple(Category(**category) for category in plain["categories"])
        known["display"] = Display(**plain["display"] | {"bands": tuple(plain["display"]["bands"])})
        known["assets"] = tuple(plain["assets"])
        known["valid_range"] = tuple(plain["valid_range"]) if plain["valid_range"] else None
        return cls(**known)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the specification: two layers with one digest mean the same bytes."""
        return hashlib.sha256(json.dumps(self.specification(), sort_keys=True).encode()).hexdigest()


_PLAIN = (
    "name", "title", "dtype", "nodata", "extent", "resampling", "scale", "offset",
    "time_rule", "reference", "statistics_by", "patch_normalised",
)  # fmt: skip


def _check(modality: Modality) -> None:
    problem = next((text for test, text in _refusals(modality) if test), None)
    if problem:
        raise Fatal(f"modality {modality.name!r}: {problem}.")


def _refusals(modality: Modality) -> list[tuple[bool, str]]:
    names = modality.band_names
    categorical = bool(modality.categories)
    return [
        (not modality.name.isidentifier(), "its name must be a Python identifier"),
        (not names or len(set(names)) != len(names), "it needs bands with different names"),
        (not _representable(modality.nodata, modality.dtype),
         f"nodata {modality.nodata} cannot be held by {modality.dtype}"),
        (categorical and modality.resampling != "nearest", "classes cannot be resampled bilinearly"),
        (categorical and np.dtype(modality.dtype).kind not in "iu", "classes need an integer dtype"),
        (categorical and (modality.scale, modality.offset) != (1.0, 0.0), "classes cannot be scaled"),
        (len(set(modality.codes)) != len(modality.codes), "two classes share a code"),
        (not all(_representable(code, modality.dtype) for code in modality.codes),
         f"a class code does not fit {modality.dtype}"),
        (modality.nodata in modality.codes, f"nodata {modality.nodata} is also a class"),
        (modality.scale == 0, "scale 0 would erase the data"),
        (_within(modality.nodata, modality.valid_range), f"nodata {modality.nodata} lies in its valid range"),
        (not set(modality.display.bands) <= set(names), "it displays bands that it lacks"),
    ]  # fmt: skip


def _representable(value: float, dtype: str) -> bool:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return math.isnan(value) or math.isinf(value) or float(kind.type(value)) == value
    if math.isnan(value) or math.isinf(value) or value != int(value):
        return False
    limits = np.iinfo(kind)
    return limits.min <= value <= limits.max


def _within(value: float, bounds: tuple[float, float] | None) -> bool:
    return bounds is not None and bounds[0] <= value <= bounds[1]
