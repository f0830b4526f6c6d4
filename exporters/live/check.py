"""Every layer of one chip as an export would pull it, against the stored pixels that its `origins` name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pyproj.exceptions import ProjError

from exporters.earth_engine.client import EarthEngine
from exporters.live import comparison
from exporters.live.comparison import BandComparison, Native
from exporters.live.stored import StoredBand, StoredPixels
from exporters.origin import Origin, Values
from exporters.pull.pull import Puller
from exporters.sources import Local, Pixels, Region, source_of
from pipeline.chip import Chip
from pipeline.errors import GeocorpusError
from pipeline.modality import Modality
from pipeline.spool import ChipResult

State = Literal["same", "differs", "not compared", "not read"]


@dataclass(frozen=True)
class LayerCheck:
    """A layer's comparison: its bands, and why the others (`left_out`) or all of them were not compared (`why`).

    `is_read` says whether the stored pixels that it follows from, if any, could be read.
    """

    layer: Modality
    bands: tuple[BandComparison, ...] = ()
    left_out: tuple[str, ...] = ()
    why: str = ""
    is_read: bool = True

    @property
    def state(self) -> State:
        """Differs exactly if a band does."""
        if not self.bands:
            return "not compared" if self.is_read else "not read"
        return "differs" if any(band.differs for band in self.bands) else "same"


def pull(engine: EarthEngine, chip: Chip, layers: Sequence[Modality]) -> ChipResult:
    """The chip as an export would pull it: a request for the pixels, and one for the means."""
    puller = Puller(engine)
    means = puller.regions([chip], puller.of(Region, layers))
    return puller.pixels(chip, puller.of(Pixels, layers)).join(means.get(chip.row, ChipResult({}, {})))


def check(engine: EarthEngine, chip: Chip, layers: Sequence[Modality], pulled: ChipResult) -> list[LayerCheck]:
    """What was pulled of every layer that Earth Engine computes, against stored pixels.

    Of a layer whose stored pixels cannot be read the check says so; no error of its assets stops the others.
    """
    remote = [layer for layer in layers if not isinstance(source_of(layer), Local)]
    origins = {layer.name: _origins(layer, chip) for layer in remote if layer.name in pulled.values}
    stored = StoredPixels(engine, chip.grid, [origin for each in origins.values() for origin in each])
    return [_checked(layer, chip, pulled, origins.get(layer.name, ()), stored) for layer in remote]


def _origins(layer: Modality, chip: Chip) -> Sequence[Origin]:
    source = source_of(layer)
    return () if isinstance(source, Local) else source.origins(chip)


def _checked(
    layer: Modality, chip: Chip, pulled: ChipResult, origins: Sequence[Origin], stored: StoredPixels
) -> LayerCheck:
    if layer.name in pulled.missing:
        return LayerCheck(layer, why=f"this chip has none ({pulled.missing[layer.name].rstrip('.')})")
    ours = dict(zip(layer.band_names, layer.physical(pulled.values[layer.name]), strict=True))
    try:
        bands = tuple(band for origin in origins for band in _bands(layer, chip, origin, ours, stored))
    except (GeocorpusError, ProjError, KeyError) as error:
        return LayerCheck(layer, why=f"the stored pixels cannot be read ({str(error).rstrip('.')})", is_read=False)
    left_out = tuple(name for name in layer.band_names if name not in {band.name for band in bands})
    return LayerCheck(layer, bands, left_out, _unchecked(layer) if left_out else "")


def _unchecked(layer: Modality) -> str:
    source = source_of(layer)
    return "" if isinstance(source, Local) else source.unchecked


def _bands(
    layer: Modality, chip: Chip, origin: Origin, ours: Mapping[str, Values], stored: StoredPixels
) -> Iterator[BandComparison]:
    """The bands of one origin; each is computed by itself, from the stored band of its place."""
    source = source_of(layer)
    for name, number in zip(origin.bands or layer.band_names, origin.stored, strict=True):
        band = stored.band(origin.asset_id, number) if origin.asset_id else None
        if isinstance(source, Region):
            if band is not None:
                share = source.scale_m / (chip.grid.resolution_m * min(chip.grid.shape_yx))
                yield comparison.compare_mean(layer, name, float(ours[name]), _native(band, origin), share)
        elif band is None:
            yield comparison.absent(name, ours[name])
        else:
            yield comparison.compare(layer, name, ours[name], _native(band, origin), origin.tolerance)


def _native(band: StoredBand, origin: Origin) -> Native:
    numbers = band.numbers[None]
    nothing = np.where(numbers == 0, np.nan, numbers)
    return Native(origin.plain(numbers, band.size), origin.plain(nothing, band.size), band.columns, band.rows)
