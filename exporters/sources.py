"""The sources of a layer's values: Earth Engine's pixels, Earth Engine's regional means, or the chip itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ee
from numpy.typing import NDArray

from exporters.origin import Origins, unknown
from pipeline.chip import Chip
from pipeline.errors import Fatal
from pipeline.manifest import Manifest
from pipeline.modality import Modality, Resampling

MASKED = "all values are masked"
Loaded = ee.Image | ee.ImageCollection | None
_NO_ORIGIN = "its file says no `origins`"
Bind = Callable[[Modality, Manifest], Modality]


def never(chip: Chip) -> str | None:
    """The default of `absent`: no chip is known to be without the layer."""
    return None


def masked(chip: Chip) -> str:
    """The default of `why_masked`: nothing is known of why a chip has no data."""
    return MASKED


def unchanged(modality: Modality, manifest: Manifest) -> Modality:
    """The default of `bind`: the layer is the same for every manifest."""
    return modality


def computed(chip: Chip) -> NDArray[Any] | None:
    """The default of `stored`: every value is physical."""
    return None


def same(image: ee.Image) -> ee.Image:
    """`image` unchanged: the default of `then`."""
    return image


def interpolated(loaded: Loaded, resampling: Resampling) -> Loaded:
    """`loaded` in the layer's resampling wherever it is computed on other pixels than its own.

    Earth Engine interpolates on the default projection of what `resample` is called on, so it is called on images as
    they are stored, before any arithmetic, and on each image of a collection: a composite's projection has one degree
    a pixel (developers.google.com/earth-engine/apidocs/ee-image-resample and guides/resample).
    """
    if loaded is None or resampling == "nearest":
        return loaded
    if isinstance(loaded, ee.ImageCollection):
        return loaded.map(lambda image: image.resample(resampling))
    return ee.Image(loaded).resample(resampling)


def at_hand(chip: Chip) -> bool:
    """The default of `waits`: a chip's values take processor time alone."""
    return False


@dataclass(frozen=True)
class Pixels:
    """A layer computed on the chip's own grid.

    `image(chip)` gives what is loaded: an image, a collection, or a tuple of several of these. Where the layer is
    interpolated, that is what `resample` is called on. `then(*loaded)` gives physical values in the bands' units (codes
    for classes), masked where there are none, one band per band of the modality and in that order; names do not
    matter. It must depend on nothing but what is loaded: it is called for few chips, and its graph is then used with
    what is loaded for the others. `absent(chip)` is the reason why the chip cannot have the layer, if that is known
    without a request, else None. `bind` completes the modality from the manifest. `everywhere` says that the image is
    the same for every chip, so that its graph is built only once. `origins(chip)` are the stored pixels that the values
    follow from, for the live check; `unchecked` says why bands have none.
    """

    image: Callable[[Chip], Loaded | tuple[Loaded, ...]]
    absent: Callable[[Chip], str | None] = never
    bind: Bind = unchanged
    everywhere: bool = False
    then: Callable[..., ee.Image] = same
    origins: Origins = unknown
    unchecked: str = _NO_ORIGIN

    def physical(self, chip: Chip, resampling: Resampling) -> ee.Image:
        """The physical values of a chip, interpolated as the layer says."""
        return self.then(*self.loaded(chip, resampling))

    def loaded(self, chip: Chip, resampling: Resampling) -> tuple[Loaded, ...]:
        """What is loaded for a chip, interpolated as the layer says."""
        loaded = self.image(chip)
        parts = loaded if isinstance(loaded, tuple) else (loaded,)
        return tuple(interpolated(part, resampling) for part in parts)


@dataclass(frozen=True)
class Region:
    """Image-level values from Earth Engine: the mean of every band over the chip's footprint; many chips per request.

    `image(chip)` gives physical values, as `then` of `Pixels`; `scale_m` is the pixel size in metres at which the mean
    is computed. `why_masked` is the reason that is kept where no band has data. `origins` and `unchecked` are as for
    `Pixels`.
    """

    image: Callable[[Chip], ee.Image]
    scale_m: float
    absent: Callable[[Chip], str | None] = never
    bind: Bind = unchanged
    why_masked: Callable[[Chip], str] = masked
    origins: Origins = unknown
    unchecked: str = _NO_ORIGIN


@dataclass(frozen=True)
class Local:
    """Values computed from the chip without a request.

    `values(chip)` gives physical values, (bands[, y, x]) of any dtype, NaN where there are none. `needs` names a column
    that the places' owner must have brought: without it a manifest has no such layer. `stored(chip)` is asked first: it
    gives what `values` would become in the layer's dtype where that is at hand, and None where it is not. `waits(chip)`
    says whether they come over a network, so that more chips than there are cores should be read at a time.
    """

    values: Callable[[Chip], NDArray]
    absent: Callable[[Chip], str | None] = never
    bind: Bind = unchanged
    needs: str = ""
    stored: Callable[[Chip], NDArray[Any] | None] = computed
    waits: Callable[[Chip], bool] = at_hand


Source = Pixels | Region | Local


def source_of(modality: Modality) -> Source:
    """The source of a layer. Raises `Fatal` when it is none of the kinds above."""
    if isinstance(modality.source, Pixels | Region | Local):
        return modality.source
    raise Fatal(f"modality {modality.name!r} has no source; set source=Pixels(...), Region(...) or Local(...).")
