"""The values of a layer at a chip, from its files or from a column of the places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.files.bands import BandOfFile, as_sources, layer_bands, raster_paths
from exporters.files.description import FilesSettings, LayerSettings
from exporters.files.open_raster import is_remote, opened
from exporters.files.raster import RasterBands, read_onto
from exporters.files.tiles import window_of
from exporters.sources import Local, at_hand, computed
from pipeline.chip import Chip
from pipeline.encoding import stored_limits
from pipeline.errors import Fatal
from pipeline.grid import Grid
from pipeline.licence import Licence
from pipeline.modality import Modality

FILES_OF = "file_"  # before a layer's name: the manifest's column of its files
Values = NDArray[np.float64]


@dataclass(frozen=True)
class FileLayer:
    """Reads the layer `modality`, described by `layer`, from the files that chips name."""

    modality: Modality
    layer: LayerSettings
    settings: FilesSettings

    @property
    def column(self) -> str:
        """The manifest's column with the layer's files."""
        return f"{FILES_OF}{self.modality.name}"

    def absent(self, chip: Chip) -> str | None:
        """Why a chip has no values: its place has no file."""
        return None if chip.own.get(self.column) else "the place has no file of this layer"

    def waits(self, chip: Chip) -> bool:
        """Whether some of a chip's files are elsewhere."""
        paths = raster_paths(self.layer, self.settings.folder, chip.own[self.column]) if not self.absent(chip) else []
        return any(map(is_remote, paths))

    def values(self, chip: Chip) -> Values:
        """Physical values (bands, y, x), NaN for no data.

        Raises `Fatal` for a file that is damaged, differs from the first in its kind, or has data that the layer's
        dtype and nodata cannot tell from no data.
        """
        bands = self._bands(chip)
        values = np.concatenate([self._read(source, chip.grid) for source in as_sources(bands, self.layer.nodata)])
        _refuse_changed(self.modality, values, chip.own[self.column])
        return values

    def stored(self, chip: Chip) -> NDArray[Any] | None:
        """Stored values (bands, y, x), nodata for none, where the files have them as the layer does, pixel for pixel.

        None where they are to be computed. Raises as `values`.
        """
        if self._is_warped or (self.modality.scale, self.modality.offset) != (1.0, 0.0):
            return None
        bands = self._bands(chip)
        if not all(self._is_as_stored(band) for band in bands):
            return None
        parts = [self._own_numbers(source, chip) for source in as_sources(bands, self.layer.nodata)]
        found = [part for part in parts if part is not None]
        if len(found) < len(parts):
            return None
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _bands(self, chip: Chip) -> list[BandOfFile]:
        bands = layer_bands(self.layer, self.modality.name, self.settings.folder, chip.own[self.column])
        check_fit(self.modality, self.layer, bands)
        return bands

    @property
    def _is_warped(self) -> bool:
        return bool(self.layer.resampling) or self.settings.grid != "own"

    def _is_as_stored(self, band: BandOfFile) -> bool:
        """Whether a number of the file is that of the layer."""
        header, index, dtype = band.header, band.number - 1, np.dtype(self.modality.dtype)
        plain = (header.scales[index], header.offsets[index]) == (1.0, 0.0)
        return plain and np.dtype(header.dtypes[index]) == dtype

    def _own_numbers(self, source: RasterBands, chip: Chip) -> NDArray[Any] | None:
        raster = opened(source.path)
        read = raster.raw(source.bands, window_of(raster.lattice, chip.grid, source.path), source.nodata)
        if read is None:
            return None
        return self._with_nodata(*read, chip.own[self.column])

    def _with_nodata(self, values: NDArray[Any], hidden: NDArray[np.bool_] | None, path: str) -> NDArray[Any]:
        """Numbers of a file with the layer's nodata where they are none. Raises `Fatal` where data are equal to it."""
        if np.dtype(self.modality.dtype).kind != "f" and not self.modality.categories:
            taken = values == self.modality.fill
            _refuse(self.modality, values[taken if hidden is None else taken & ~hidden], path)
        if hidden is not None:
            values[hidden] = self.modality.fill
        return values

    def _read(self, source: RasterBands, grid: Grid) -> Values:
        if self._is_warped:
            return read_onto(source, grid, self.modality.resampling)
        raster = opened(source.path)
        return raster.physical(source.bands, window_of(raster.lattice, grid, source.path), source.nodata)


def check_fit(modality: Modality, layer: LayerSettings, bands: Sequence[BandOfFile]) -> None:
    """Raise `Fatal` for bands in a file that are not those of the layer, or packed otherwise."""
    names = tuple(band.name for band in bands)
    if names != modality.band_names:
        raise Fatal(
            f"{bands[0].header.path} has the bands {_few(names)} for layer {modality.name!r}, and the first file had "
            f"{_few(modality.band_names)}; correct its bands."
        )
    for band in bands:
        _check_kind(modality, band, as_found=layer.dtype is None)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _check_kind(modality: Modality, band: BandOfFile, as_found: bool) -> None:
    """That the numbers of the file are numbers of the layer's dtype; which integers it holds, reading them says.

    `as_found` says that nobody asked for this dtype, so that it must hold all that the file's does.
    """
    header, index = band.header, band.number - 1
    own, kept = np.dtype(header.dtypes[index]), np.dtype(modality.dtype)
    packed = (header.scales[index], header.offsets[index])
    same_packing = packed == (modality.scale, modality.offset)
    if kept.kind == "f":
        unfit = as_found and not np.can_cast(own, kept)
    else:
        unfit = own.kind == "f" or not same_packing
    if unfit:
        raise Fatal(
            f"{header.path} is {own} with scale and offset {packed}, and layer {modality.name!r} is {kept} with "
            f"{(modality.scale, modality.offset)}; give the layer a dtype that holds both, such as float64."
        )


def _refuse_changed(modality: Modality, values: Values, path: str) -> None:
    """Raise `Fatal` where data would be clipped, or be taken for no data."""
    if np.dtype(modality.dtype).kind == "f" or modality.categories:
        return
    stored = np.round((values - modality.offset) / modality.scale)
    low, high = stored_limits(modality)
    _refuse(modality, stored[(stored < low) | (stored > high) | (stored == modality.nodata)], path)


def _refuse(modality: Modality, wrong: NDArray[Any], path: str) -> None:
    """Raise `Fatal` where there are values that the layer cannot hold as data."""
    if wrong.size:
        raise Fatal(
            f"{path} has {wrong[0]:g} as data, which layer {modality.name!r} ({modality.dtype}, nodata "
            f"{modality.nodata:g}) cannot hold; give the layer another dtype, or nodata = {wrong[0]:g} if it "
            "is none."
        )


@dataclass(frozen=True)
class ColumnLayer:
    """Reads an image-level layer from a column of the places; `column` is the manifest's."""

    modality: Modality
    column: str

    def absent(self, chip: Chip) -> str | None:
        """Why a chip has no value: its place has none."""
        return "the place has no value in this column" if chip.own.get(self.column) is None else None

    def values(self, chip: Chip) -> Values:
        """The number, or the code of the class, (1,); a class that the layer lacks is a code that it lacks."""
        value = chip.own[self.column]
        return np.array([float(value if not self.modality.categories else self._code(value))])

    def _code(self, value: Any) -> float:
        by_name = {item.name: item.code for item in self.modality.categories}
        if str(value) in by_name:
            return by_name[str(value)]
        return float(value) if isinstance(value, int | float) else np.nan


def with_source(layer: FileLayer | ColumnLayer, said: LayerSettings) -> Modality:
    """The modality with its source, and the licence that its description gives it."""
    licence = Licence(said.licence, attribution=said.attribution) if said.licence else None
    stored = layer.stored if isinstance(layer, FileLayer) else computed
    waits = layer.waits if isinstance(layer, FileLayer) else at_hand
    source = Local(layer.values, layer.absent, needs=layer.column, stored=stored, waits=waits)
    return replace(layer.modality, source=source, licence=licence)
