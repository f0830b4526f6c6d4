"""Pulls one chip: all its layers in one request, checked as they arrive, and a reason for each layer without data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ee
import numpy as np
from numpy.typing import NDArray

from exporters.earth_engine.client import EarthEngine
from exporters.earth_engine.faults import AssetGone
from exporters.pull import encoding
from exporters.sources import Local, Pixels, Region, Source, source_of
from pipeline.chip import Chip
from pipeline.errors import Fatal, Missing
from pipeline.modality import Modality
from pipeline.spool import ChipResult

MASKED = "all values are masked"
_MAX_BANDS = 1024  # of one computePixels request (Earth Engine's usage limits)
REGION_ROWS = 128
_NOTHING = ChipResult({}, {})


@dataclass(frozen=True)
class _Column:
    """One band of one layer in a request."""

    modality: Modality
    band: str

    @property
    def name(self) -> str:
        return encoding.column(self.modality, self.band)


class Puller:
    """Pulls chips of one export over one connection; layers have unique names. Safe for many threads.

    Methods raise the errors of `EarthEngine`, `OneTooLarge`, and `Fatal` for a source that does not fit its layer.
    """

    def __init__(self, engine: EarthEngine) -> None:
        self.engine = engine
        self._sources: dict[str, Source] = {}
        self.bands = engine.at_once("bands", _MAX_BANDS)
        self.rows = engine.at_once("rows", REGION_ROWS)
        self._shared_images: dict[str, ee.Image] = {}

    def source(self, layer: Modality) -> Source:
        """The source of a layer, looked up once for all chips. Raises `Fatal` as `source_of`."""
        if layer.name not in self._sources:
            self._sources[layer.name] = source_of(layer)
        return self._sources[layer.name]

    def of(self, kind: type[Source], layers: Sequence[Modality]) -> list[Modality]:
        """The layers whose source is of this kind."""
        return [layer for layer in layers if isinstance(self.source(layer), kind)]

    def pixels(self, chip: Chip, layers: Sequence[Modality]) -> ChipResult:
        """Layers whose source is `Pixels`: one request, more only after `TooLarge` or `Missing`.

        Raises `Fatal` when an asset that every chip needs cannot be read.
        """
        reasons, possible = self._split_absent(chip, layers)
        if not possible:
            return ChipResult({}, reasons)
        images = {layer.name: self._image(layer, chip) for layer in possible}
        columns = [_Column(layer, band) for layer in possible for band in layer.band_names]
        try:
            result = self._columns(chip, columns, images)
        except Missing as error:
            _refuse_unreadable_asset(error, [chip])
            return self._layer_by_layer(chip, possible, error).join(ChipResult({}, reasons))
        arrived = {layer.name: _gather(layer, result) for layer in possible}
        return _checked(chip, possible, arrived).join(ChipResult({}, reasons))

    def _image(self, layer: Modality, chip: Chip) -> ee.Image:
        """A layer as stored values; the graph is built once where it is the same for every chip."""
        if layer.name in self._shared_images:
            return self._shared_images[layer.name]
        source = self.source(layer)
        if not isinstance(source, Pixels):
            raise Fatal(f"modality {layer.name!r} is not computed as pixels; this is a fault of the exporter.")
        image = encoding.stored_image(layer, source, chip)
        if source.everywhere:
            self._shared_images[layer.name] = image
        return image

    def _columns(
        self, chip: Chip, columns: Sequence[_Column], images: Mapping[str, ee.Image]
    ) -> dict[str, NDArray[Any]]:
        result: dict[str, NDArray[Any]] = {}
        for array in self.bands.ask(columns, lambda part: self.engine.pixels(_concatenated(part, images), chip.grid)):
            result |= {name: array[name] for name in array.dtype.names or ()}
        return result

    def _layer_by_layer(self, chip: Chip, layers: Sequence[Modality], error: Missing) -> ChipResult:
        """Request the layers one by one, to find which one is absent and to pull the others."""
        if len(layers) == 1:
            return ChipResult({}, {layers[0].name: str(error)})
        pulled = _NOTHING
        for layer in layers:
            pulled = pulled.join(self.pixels(chip, [layer]))
        return pulled

    def regions(self, chips: Sequence[Chip], layers: Sequence[Modality]) -> dict[int, ChipResult]:
        """Layers whose source is `Region`, many chips in a request; the results by manifest row."""
        if not layers:
            return {}
        pulled: dict[int, ChipResult] = {}
        for answer in self.rows.ask(chips, lambda part: self._region_part(part, layers)):
            pulled |= answer
        return pulled

    def _region_part(self, chips: Sequence[Chip], layers: Sequence[Modality]) -> dict[int, ChipResult]:
        absent = [self._split_absent(chip, layers) for chip in chips]
        try:
            rows = self.engine.value(self._all_means(chips, [possible for _, possible in absent]))
        except Missing as error:
            _refuse_unreadable_asset(error, chips)
            return self._narrowed(chips, layers, error)
        return {
            chip.row: _checked_means(chip, possible, row).join(ChipResult({}, reasons))
            for chip, (reasons, possible), row in zip(chips, absent, rows, strict=True)
        }

    def _narrowed(self, chips: Sequence[Chip], layers: Sequence[Modality], error: Missing) -> dict[int, ChipResult]:
        """Request halves of the chips, then single layers, to find what is absent and to pull the rest."""
        if len(chips) > 1:
            middle = len(chips) // 2
            return self._region_part(chips[:middle], layers) | self._region_part(chips[middle:], layers)
        pulled = _NOTHING
        for layer in layers:
            absent = ChipResult({}, {layer.name: str(error)})
            single = self._region_part(chips, [layer])[chips[0].row] if len(layers) > 1 else absent
            pulled = pulled.join(single)
        return {chips[0].row: pulled}

    def _all_means(self, chips: Sequence[Chip], layers: Sequence[Sequence[Modality]]) -> ee.List:
        """One dictionary of layers per chip; each layer is a dictionary of band means."""
        return ee.List([
            ee.Dictionary({layer.name: self._region_means(layer, chip) for layer in wanted})
            for chip, wanted in zip(chips, layers, strict=True)
        ])  # fmt: skip

    def _region_means(self, layer: Modality, chip: Chip) -> ee.Dictionary:
        source = self.source(layer)
        if not isinstance(source, Region):
            raise Fatal(f"modality {layer.name!r} is no regional mean; this is a fault of the exporter.")
        rectangle = ee.Geometry.Rectangle(list(chip.grid.bounds_xy), proj=chip.grid.crs, geodesic=False)
        image = source.image(chip).rename(list(layer.band_names))
        return image.reduceRegion(ee.Reducer.mean(), rectangle, scale=source.scale_m, crs=chip.grid.crs)

    def local(self, chip: Chip, layers: Sequence[Modality]) -> ChipResult:
        """Layers whose source is `Local`; makes no request."""
        reasons, possible = self._split_absent(chip, layers)
        values = {}
        for layer in possible:
            source = self.source(layer)
            if isinstance(source, Local):
                values[layer.name] = encoding.stored_values(layer, source.values(chip))
        return _checked(chip, possible, values).join(ChipResult({}, reasons))

    def _split_absent(self, chip: Chip, layers: Sequence[Modality]) -> tuple[dict[str, str], list[Modality]]:
        """The reasons of the layers known to be absent for this chip, and the other layers."""
        known = {layer.name: self.source(layer).absent(chip) for layer in layers}
        reasons = {name: reason for name, reason in known.items() if reason}
        return reasons, [layer for layer in layers if layer.name not in reasons]


def _concatenated(columns: Sequence[_Column], images: Mapping[str, ee.Image]) -> ee.Image:
    """One image with exactly these bands."""
    names: dict[str, list[str]] = {}
    for column in columns:
        names.setdefault(column.modality.name, []).append(column.name)
    whole = {column.modality.name: len(column.modality.bands) for column in columns}
    return ee.Image.cat([
        images[layer] if len(bands) == whole[layer] else images[layer].select(bands)
        for layer, bands in names.items()
    ])  # fmt: skip


def _gather(layer: Modality, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    columns = {encoding.column(layer, band): band for band in layer.band_names}
    absent = [band for name, band in columns.items() if name not in arrays]
    if absent:
        raise Fatal(f"modality {layer.name!r}: its source gave no band for {', '.join(absent)}.")
    return encoding.arrived(layer, [arrays[name] for name in columns])


def _checked_means(chip: Chip, layers: Sequence[Modality], means: Mapping[str, Mapping[str, Any]]) -> ChipResult:
    values = {}
    for layer in layers:
        numbers = [means[layer.name].get(band) for band in layer.band_names]
        physical = np.array([np.nan if number is None else number for number in numbers], dtype=np.float64)
        values[layer.name] = encoding.stored_values(layer, physical)
    return _checked(chip, layers, values)


def _checked(chip: Chip, layers: Sequence[Modality], values: Mapping[str, NDArray[Any]]) -> ChipResult:
    """The valid layers of a chip, and a reason for each other layer."""
    valid_values: dict[str, NDArray[Any]] = {}
    reasons: dict[str, str] = {}
    for layer in layers:
        block = _finite_or_nodata(layer, values[layer.name])
        reason = problem(layer, block, chip)
        if reason:
            reasons[layer.name] = reason
        else:
            valid_values[layer.name] = block
    return ChipResult(valid_values, reasons)


def _finite_or_nodata(layer: Modality, block: NDArray[Any]) -> NDArray[Any]:
    """NaN and infinity (the logarithm of zero in a source) become nodata."""
    if block.dtype.kind == "f":
        block = np.where(np.isfinite(block), block, layer.fill).astype(block.dtype)
    return block


def problem(layer: Modality, block: NDArray[Any], chip: Chip) -> str | None:
    """Why a chip's block cannot be stored, or None.

    Raises `Fatal` when the block is not (bands[, y, x]) in the layer's dtype.
    """
    height, width = chip.grid.shape_yx
    expected = (len(layer.bands), height, width) if layer.extent == "pixel" else (len(layer.bands),)
    if block.shape != expected or block.dtype != np.dtype(layer.dtype):
        raise Fatal(
            f"modality {layer.name!r} came as {block.dtype} {block.shape} for location {chip.location.id}, "
            f"but it is {layer.dtype} {expected}; correct its source."
        )
    valid = layer.valid(block)
    if not valid.any():
        return MASKED
    if layer.categories:
        unknown = sorted(set(np.unique(block[valid]).tolist()) - set(layer.codes))
        if unknown:
            return f"values {', '.join(map(str, unknown[:5]))} are none of its classes"
    return None


def _refuse_unreadable_asset(error: Missing, chips: Sequence[Chip]) -> None:
    """Raise `Fatal` for an unreadable asset that every chip needs. A withdrawn scene concerns its chips only."""
    if isinstance(error, AssetGone) and error.asset_id not in {name for chip in chips for name in _pinned(chip)}:
        raise Fatal(
            f"{str(error).rstrip('.')}; check that your project may read this asset, or leave the modality out."
        ) from error


def _pinned(chip: Chip) -> list[str]:
    scenes = (chip.acquisition.anchor, chip.acquisition.ascending, chip.acquisition.descending)
    return [scene.asset_id for scene in scenes if scene]
