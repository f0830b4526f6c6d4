"""Pulls one chip: all its layers in one request, checked as they arrive, and a reason for each layer without data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import ee
import numpy as np
from numpy.typing import NDArray

from exporters.earth_engine.batch_size import AdaptiveBatchSize
from exporters.earth_engine.client import EarthEngine
from exporters.earth_engine.expression import Shared
from exporters.earth_engine.faults import AssetGone
from exporters.pull import encoding
from exporters.pull.template import Template
from exporters.sources import MASKED, Local, Pixels, Region, Source, source_of
from pipeline.chip import Chip
from pipeline.encoding import encoded, unstorable
from pipeline.errors import Fatal, Missing, Transient
from pipeline.modality import Modality
from pipeline.spool import ChipResult

_MAX_BANDS = 1024  # of one computePixels request (Earth Engine's usage limits)
# Every mean is an aggregation, and Earth Engine refuses a request with too many of them ("Too many concurrent
# aggregations."): others met that at some 20. So few are asked for at first, and more once many requests have passed.
REGION_ROWS, _MOST_ROWS, _ROWS_PATIENCE = 16, 128, 16
_NOTHING = ChipResult({}, {})
Key = TypeVar("Key")


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
        self.bands = engine.at_once("bands", AdaptiveBatchSize(_MAX_BANDS))
        self.rows = engine.at_once("rows", AdaptiveBatchSize(_MOST_ROWS, REGION_ROWS, _ROWS_PATIENCE))
        self._shared_images: dict[str, ee.Image] = {}
        self._shared_requests: dict[tuple[str, ...], ee.Image] = {}
        self._shared = Shared()
        self._templates: dict[str, Template] = {}

    def source(self, layer: Modality) -> Source:
        """The source of a layer, looked up once for all chips. Raises `Fatal` as `source_of`."""
        if layer.name not in self._sources:
            self._sources[layer.name] = source_of(layer)
        return self._sources[layer.name]

    def of(self, kind: type[Source], layers: Sequence[Modality]) -> list[Modality]:
        """The layers whose source is of this kind."""
        return [layer for layer in layers if isinstance(self.source(layer), kind)]

    def waits(self, chip: Chip, layers: Sequence[Modality]) -> bool:
        """Whether the layers of a chip come over a network, rather than from this machine."""
        sources = [self.source(layer) for layer in layers]
        return any(not isinstance(source, Local) or source.waits(chip) for source in sources)

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
        if not source.everywhere:
            return self._template(layer, source).image(source.loaded(chip, layer.resampling))
        return self._share(self._shared_images, layer.name, encoding.stored_image(layer, source, chip))

    def _template(self, layer: Modality, source: Pixels) -> Template:
        if layer.name not in self._templates:
            template = Template(lambda parts: encoding.stored(layer, source.then(*parts)))
            self._templates.setdefault(layer.name, template)
        return self._templates[layer.name]

    def _share(self, images: dict[Key, ee.Image], key: Key, image: ee.Image) -> ee.Image:
        """Keep an image that is the same for every chip; the one that there is, if another thread was faster."""
        kept = images.setdefault(key, image)
        if kept is image:
            self._shared.add(image)
        return kept

    def _columns(
        self, chip: Chip, columns: Sequence[_Column], images: Mapping[str, ee.Image]
    ) -> dict[str, NDArray[Any]]:
        result: dict[str, NDArray[Any]] = {}
        for array in self.bands.ask(columns, lambda part: self._asked(part, images, chip)):
            result |= {name: array[name] for name in array.dtype.names or ()}
        return result

    def _asked(self, columns: Sequence[_Column], images: Mapping[str, ee.Image], chip: Chip) -> NDArray[Any]:
        """The columns of one request; where they are of images for every chip, their concatenation is, too."""
        key = tuple(column.name for column in columns)
        image = self._shared_requests.get(key)
        if image is None:
            image = _concatenated(columns, images)
            if all(column.modality.name in self._shared_images for column in columns):
                image = self._share(self._shared_requests, key, image)
        return self.engine.pixels(image, chip.grid, self._shared)

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
        return {row: result for answer in self.region_answers(chips, layers) for row, result in answer.items()}

    def region_answers(self, chips: Sequence[Chip], layers: Sequence[Modality]) -> Iterator[dict[int, ChipResult]]:
        """As `regions`, request by request, so that what has come is not lost where a later one fails."""
        return self.rows.ask(chips if layers else [], lambda part: self._region_part(part, layers))

    def _region_part(self, chips: Sequence[Chip], layers: Sequence[Modality]) -> dict[int, ChipResult]:
        absent = [self._split_absent(chip, layers) for chip in chips]
        try:
            rows = self.engine.value(self._all_means(chips, [possible for _, possible in absent]))
        except Missing as error:
            _refuse_unreadable_asset(error, chips)
            return self._narrowed(chips, layers, error)
        if not isinstance(rows, list) or len(rows) != len(chips):
            raise Transient(f"the means of {len(chips)} chips did not arrive whole.")
        return {
            chip.row: self._explained(chip, _checked_means(chip, possible, row)).join(ChipResult({}, reasons))
            for chip, (reasons, possible), row in zip(chips, absent, rows, strict=True)
        }

    def _explained(self, chip: Chip, pulled: ChipResult) -> ChipResult:
        """With the source's own reason in the place of masked values."""
        sources = {name: self._sources[name] for name, reason in pulled.missing.items() if reason == MASKED}
        reasons = {name: source.why_masked(chip) for name, source in sources.items() if isinstance(source, Region)}
        return ChipResult(pulled.values, {**pulled.missing, **reasons})

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
        stored, physical = dict[str, NDArray[Any]](), dict[str, NDArray[np.float64]]()
        for layer in possible:
            source = self.source(layer)
            if isinstance(source, Local):
                values = source.stored(chip)
                if values is None:
                    physical[layer.name] = _numbers(layer, source.values(chip))
                else:
                    stored[layer.name] = values
        computed = _encoded(chip, [layer for layer in possible if layer.name in physical], physical)
        return computed.join(_checked(chip, [layer for layer in possible if layer.name in stored], stored)).join(
            ChipResult({}, reasons)
        )

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


def _numbers(layer: Modality, values: Any) -> NDArray[np.float64]:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise Fatal(f"modality {layer.name!r}: its source gave no numbers ({error}); correct it.") from error


def _checked_means(chip: Chip, layers: Sequence[Modality], means: Mapping[str, Mapping[str, Any]]) -> ChipResult:
    return _encoded(chip, layers, {layer.name: _means(layer, means) for layer in layers})


def _means(layer: Modality, means: Mapping[str, Mapping[str, Any]]) -> NDArray[np.float64]:
    """The means of a layer's bands, (bands,), NaN for none; raises `Transient` for an answer of another kind."""
    try:
        numbers = [means[layer.name].get(band) for band in layer.band_names]
    except (TypeError, KeyError, AttributeError) as error:
        raise Transient(f"the means of modality {layer.name!r} did not arrive.") from error
    strange = [number for number in numbers if not isinstance(number, int | float | None)]
    if strange:
        raise Transient(f"the means of modality {layer.name!r} arrived as {strange[0]!r:.40}, which is no number.")
    return np.array([np.nan if number is None else number for number in numbers], dtype=np.float64)


def _encoded(chip: Chip, layers: Sequence[Modality], physical: Mapping[str, NDArray[np.float64]]) -> ChipResult:
    """The layers of a chip from physical values, and a reason for each that its dtype cannot hold."""
    refused = {layer.name: unstorable(layer, physical[layer.name]) for layer in layers}
    reasons = {name: reason for name, reason in refused.items() if reason}
    possible = [layer for layer in layers if layer.name not in reasons]
    values = {layer.name: encoded(layer, physical[layer.name]) for layer in possible}
    return _checked(chip, possible, values).join(ChipResult({}, reasons))


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
    return unknown_classes(layer, block[valid]) if layer.categories else None


def unknown_classes(layer: Modality, codes: NDArray[Any]) -> str | None:
    unknown = set(np.unique(codes).tolist()) - set(layer.codes)
    if encoding.stray_code(layer) in unknown:
        return f"some values are none of its classes: fractions, or not what {layer.dtype} holds"
    few = ", ".join(map(str, sorted(unknown)[:5]))
    return f"values {few} are none of its classes" if unknown else None


def _refuse_unreadable_asset(error: Missing, chips: Sequence[Chip]) -> None:
    """Raise `Fatal` for an unreadable asset that every chip needs. A withdrawn scene concerns its chips only."""
    if isinstance(error, AssetGone) and error.asset_id not in {name for chip in chips for name in _pinned(chip)}:
        raise Fatal(
            f"{str(error).rstrip('.')}; check that your project may read this asset, or leave the modality out."
        ) from error


def _pinned(chip: Chip) -> list[str]:
    scenes = (chip.acquisition.anchor, chip.acquisition.ascending, chip.acquisition.descending)
    return [scene.asset_id for scene in scenes if scene]
