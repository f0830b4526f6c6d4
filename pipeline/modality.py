"""What a layer is: bands, units, dtype, nodata, classes, extent, time rule. Refuses nonsense when it is made."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Fatal
from pipeline.licence import Licence
from pipeline.observed import ROLES, Observed

Extent = Literal["pixel", "image"]
Kind = Literal["continuous", "categorical"]
Resampling = Literal["nearest", "bilinear"]
Style = Literal["rgb", "grey", "hillshade", "classes", "none"]
Range = tuple[float, float]  # the least and the greatest stored number that is in order
BAND_PREFIX = "band_"  # no layer has a name that begins so


@dataclass(frozen=True)
class Band:
    """One channel: its name in the source and the units of its physical value (UDUNITS; "1" for none).

    `valid_range` bounds its stored data where that of the layer is not for it, as for a slope beside a height.
    """

    name: str
    units: str = "1"
    long_name: str = ""
    valid_range: Range | None = None

    def specification(self) -> dict[str, Any]:
        """The band as JSON. One without a range of its own is written as before there were any."""
        plain: dict[str, Any] = {"name": self.name, "units": self.units, "long_name": self.long_name}
        return plain if self.valid_range is None else plain | {"valid_range": list(self.valid_range)}

    @classmethod
    def from_specification(cls, plain: Mapping[str, Any]) -> Band:
        """The band that `specification` described; raises `TypeError` for other data."""
        own = plain.get("valid_range")
        return cls(**{**plain, "valid_range": tuple(own) if own else None})


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


@dataclass(frozen=True, eq=False)
class Modality:
    """A layer of the corpus.

    Stored values are `dtype`; physical = stored * scale + offset. `nodata` is a stored value that no datum has.
    `valid_range` bounds the stored data of all bands that have no range of their own (quality check, histogram).
    `statistics_by` names the manifest column within whose values statistics are kept apart (processing levels differ
    as sensors do).
    `patch_normalised` asks a trainer to normalise targets per patch. `source` says how an exporter pulls it: it
    is opaque here, and not part of the specification that is stored and compared: modalities are equal when their
    specifications are, where NaN equals NaN. `licence` and `observed` (passes, polarisations and clouds) are no part of
    it either: the store keeps them beside, and a layer of which they become known later stays what it is.
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
    valid_range: Range | None = None
    time_rule: str = "static"
    assets: tuple[str, ...] = ()
    reference: str = ""
    statistics_by: str | None = None
    patch_normalised: bool = False
    display: Display = field(default_factory=Display)
    licence: Licence | None = None
    observed: Observed | None = None
    source: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        _check(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Modality):
            return NotImplemented
        return self is other or _comparable(self.specification()) == _comparable(other.specification())

    def __hash__(self) -> int:
        return hash((self.name, self.dtype, self.band_names))

    @property
    def kind(self) -> Kind:
        """Categorical exactly if it has categories."""
        return "categorical" if self.categories else "continuous"

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names in storage order."""
        return tuple(band.name for band in self.bands)

    @property
    def band_axis(self) -> str:
        """The axis of its bands in the store, and the array that holds their names."""
        return f"{BAND_PREFIX}{self.name}"

    @cached_property
    def ranges(self) -> tuple[Range | None, ...]:
        """The valid range of every band in stored numbers: its own, or else the layer's; None without either."""
        return tuple(band.valid_range or self.valid_range for band in self.bands)

    @property
    def has_ranges(self) -> bool:
        """Whether any band has a valid range."""
        return any(self.ranges)

    @property
    def bounds(self) -> NDArray[np.float64]:
        """The ends of `ranges`, (2, bands, 1, 1) or at image level (2, bands) float64; infinite without a range."""
        ends = np.array([each or (-math.inf, math.inf) for each in self.ranges], dtype=np.float64).T
        return ends[..., None, None] if self.extent == "pixel" else ends

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

    def in_units(self, dtype: str) -> Modality:
        """The layer of this one's physical values in a `dtype` of floats: NaN where there is no data."""
        bands = tuple(replace(band, valid_range=self._in_units(band.valid_range)) for band in self.bands)
        of_all = self._in_units(self.valid_range)
        return replace(self, bands=bands, dtype=dtype, nodata=math.nan, scale=1.0, offset=0.0, valid_range=of_all)

    def _in_units(self, valid_range: Range | None) -> Range | None:
        if valid_range is None:
            return None
        low, high = sorted(end * self.scale + self.offset for end in valid_range)
        return low, high

    def without_ranges_of_bands(self) -> Modality:
        """The same layer, whose bands have no range of their own."""
        return replace(self, bands=tuple(replace(band, valid_range=None) for band in self.bands))

    def with_categories(self, categories: Sequence[Category]) -> Modality:
        """The same layer with another class table."""
        return replace(self, categories=tuple(categories))

    def specification(self) -> dict[str, Any]:
        """Everything but source, licence and `observed`, as JSON; `from_specification` gives the same modality back."""
        data = {name: getattr(self, name) for name in _PLAIN}
        data["nodata"] = "NaN" if math.isnan(self.nodata) else self.nodata
        data["bands"] = [band.specification() for band in self.bands]
        data["categories"] = [vars(category) for category in self.categories]
        data["display"] = vars(self.display) | {"bands": list(self.display.bands)}
        data["assets"] = list(self.assets)
        data["valid_range"] = list(self.valid_range) if self.valid_range else None
        return data

    @classmethod
    def from_specification(cls, plain: Mapping[str, Any]) -> Modality:
        """The modality that `specification` described; raises `Fatal` for other data."""
        try:
            return cls(**cls._known(plain))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _damaged(error) from error

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> Modality:
        """The modality of an array with these attributes, and what is kept beside its specification.

        Raises `KeyError`, and as `from_specification` does.
        """
        modality = cls.from_specification(attributes["geocorpus"])
        try:
            observed = Observed.from_attributes(attributes)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _damaged(error) from error
        return replace(modality, licence=Licence.from_attributes(attributes), observed=observed)

    @classmethod
    def _known(cls, plain: Mapping[str, Any]) -> dict[str, Any]:
        known = {name: plain[name] for name in _PLAIN if name in plain}
        known["nodata"] = math.nan if plain["nodata"] == "NaN" else plain["nodata"]
        known["bands"] = tuple(map(Band.from_specification, plain["bands"]))
        known["categories"] = tuple(Category(**category) for category in plain["categories"])
        known["display"] = Display(**plain["display"] | {"bands": tuple(plain["display"]["bands"])})
        known["assets"] = tuple(plain["assets"])
        known["valid_range"] = tuple(plain["valid_range"]) if plain["valid_range"] else None
        return known

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the specification: two layers with one digest mean the same bytes."""
        return hashlib.sha256(json.dumps(self.specification(), sort_keys=True).encode()).hexdigest()


def _damaged(error: Exception) -> Fatal:
    return Fatal(
        f"the specification of a modality in the store is damaged ({type(error).__name__}: {error}); "
        "`geocorpus verify` says which, and what mends it."
    )


_PLAIN = (
    "name", "title", "dtype", "nodata", "extent", "resampling", "scale", "offset",
    "time_rule", "reference", "statistics_by", "patch_normalised",
)  # fmt: skip


def _comparable(plain: Any) -> Any:
    """The same JSON with a word for each NaN, which as a number is not equal to itself."""
    match plain:
        case float() if math.isnan(plain):
            return "NaN"
        case dict():
            return {name: _comparable(value) for name, value in plain.items()}
        case list() | tuple():
            return [_comparable(value) for value in plain]
    return plain


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
        *((test, text) for test, text in _misranged(modality)),
        (not set(modality.display.bands) <= set(names), "it displays bands that it lacks"),
        *((test, f"its observation {text}") for test, text in _misread(modality)),
    ]  # fmt: skip


def _misranged(modality: Modality) -> Iterator[tuple[bool, str]]:
    if modality.valid_range is not None and not _is_pair(modality.valid_range):
        yield True, "its valid_range is not two numbers; a band's own range goes into its Band(..., valid_range=...)"
        return
    for band in modality.bands:
        own = band.valid_range
        wrong = own is not None and not (_is_pair(own) and own[0] < own[1])
        yield wrong, f"the valid_range of its band {band.name!r} is not two numbers, the smaller first"
        if not wrong:
            inside = _within(modality.nodata, own or modality.valid_range)
            yield inside, f"nodata {modality.nodata} lies in the valid range of its band {band.name!r}"


def _is_pair(ends: Any) -> bool:
    return len(ends) == 2 and all(isinstance(end, (int, float, np.number)) for end in ends)


def _misread(modality: Modality) -> list[tuple[bool, str]]:
    observed, names = modality.observed, set(modality.band_names)
    if observed is None:
        return []
    channels, classes, detection = observed.channels, observed.classes, observed.detection
    codes = set(classes.codes) if classes else set()
    return [
        (not {each.band for each in channels} <= names, "has channels of bands that it lacks"),
        (
            not {each.role for each in channels} <= set(ROLES),
            f"has channels of scenes that are none of {', '.join(ROLES)}",
        ),
        (not codes <= set(modality.codes), "has classes that it lacks"),
        (detection is not None and not set(detection.bands) <= names, "detects clouds in bands that it lacks"),
        (observed.cloud_from is not None and modality.kind != "continuous", "has probabilities that are classes"),
        (observed.cloud_rank is not None and modality.extent != "pixel", "has clouds without pixels"),
    ]  # fmt: skip


def _representable(value: float, dtype: str) -> bool:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return math.isnan(value) or math.isinf(value) or float(kind.type(value)) == value
    if math.isnan(value) or math.isinf(value) or value != int(value):
        return False
    limits = np.iinfo(kind)
    return limits.min <= value <= limits.max


def _within(value: float, bounds: Range | None) -> bool:
    return bounds is not None and bounds[0] <= value <= bounds[1]
