"""The sources of a layer's values: Earth Engine's pixels, Earth Engine's regional means, or the chip itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import ee
from numpy.typing import NDArray

from pipeline.chip import Chip
from pipeline.errors import Fatal
from pipeline.manifest import Manifest
from pipeline.modality import Modality

Bind = Callable[[Modality, Manifest], Modality]


def never(chip: Chip) -> str | None:
    """The default of `absent`: no chip is known to be without the layer."""
    return None


def unchanged(modality: Modality, manifest: Manifest) -> Modality:
    """The default of `bind`: the layer is the same for every manifest."""
    return modality


@dataclass(frozen=True)
class Pixels:
    """A layer computed on the chip's own grid.

    `image(chip)` gives physical values in the bands' units (codes for classes), masked where there are none, one
    band per band of the modality and in that order; names do not matter. `absent(chip)` is the reason why the chip
    cannot have the layer, if that is known without a request, else None. `bind` completes the modality from the
    manifest. `everywhere` says that the image is the same for every chip, so that its graph is built only once.
    """

    image: Callable[[Chip], ee.Image]
    absent: Callable[[Chip], str | None] = never
    bind: Bind = unchanged
    everywhere: bool = False


@dataclass(frozen=True)
class Region:
    """Image-level values from Earth Engine: the mean of every band over the chip's footprint; many chips per request.

    `image(chip)` is as for `Pixels`; `scale_m` is the pixel size in metres at which the mean is computed.
    """

    image: Callable[[Chip], ee.Image]
    scale_m: float
    absent: Callable[[Chip], str | None] = never
    bind: Bind = unchanged


@dataclass(frozen=True)
class Local:
    """Values computed from the chip without a request.

    `values(chip)` gives physical values, (bands[, y, x]) of any dtype, NaN where there are none.
    """

    values: Callable[[Chip], NDArray]
    absent: Callable[[Chip], str | None] = never
    bind: Bind = unchanged


Source = Pixels | Region | Local


def source_of(modality: Modality) -> Source:
    """The source of a layer. Raises `Fatal` when it is none of the kinds above."""
    if isinstance(modality.source, Pixels | Region | Local):
        return modality.source
    raise Fatal(f"modality {modality.name!r} has no source; set source=Pixels(...), Region(...) or Local(...).")
