"""A layer of the catalogue that is read from files of one's own in place of Earth Engine: same name, dtype, classes."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exporters.files.file_index import FileIndex
from exporters.files.layer_files import BandFiles, files_of
from exporters.files.open_raster import OpenRaster, is_remote, opened
from exporters.files.raster import RasterBands, read_mosaic
from exporters.sources import Local
from pipeline import seal
from pipeline.chip import Chip
from pipeline.corpus_folder import SOURCES
from pipeline.errors import Fatal, unknown_name
from pipeline.modality import Modality

NO_FILE = "no file of the layer lies under the chip"


class StaticLayer:
    """The values of `modality` at any chip, from files. Safe for many threads."""

    def __init__(self, modality: Modality, groups: list[BandFiles], record: Path) -> None:
        self.modality, self.groups, self.record = modality, groups, record
        self._index: FileIndex | None = None
        self._lock = threading.Lock()

    def settle(self) -> None:
        """Look up all files, and keep the list of them with the corpus, as the record of where its values come from.

        Raises `Fatal` where a file of an earlier list is gone or is another one.
        """
        known = FileIndex.read(self.record)
        index = FileIndex.of([group.paths() for group in self.groups], known)
        for path in known.replaced_in(index) if known else ():
            raise Fatal(
                f"{path}, from which layer {self.modality.name!r} was begun, is gone or another file; put it back, or "
                f"begin a new corpus ({self.record} lists its files)."
            )
        if index != known:
            seal.remove(self.record.parent.parent)
            index.write(self.record)
        self._index = index

    @property
    def index(self) -> FileIndex:
        """The files as the corpus lists them, or as they are where it has no list yet."""
        with self._lock:
            if self._index is None:
                known = FileIndex.read(self.record)
                self._index = known or FileIndex.of([group.paths() for group in self.groups])
            return self._index

    def absent(self, chip: Chip) -> str | None:
        """Why a chip has no values: there is no file."""
        under = any(self.index.under(chip.grid, group) for group in range(len(self.groups)))
        return None if under else NO_FILE

    def values(self, chip: Chip) -> NDArray[np.float64]:
        """Physical values (bands, y, x), NaN for none. Raises `Fatal` and `Transient` as reading the files does."""
        return np.concatenate([self._group(number, group, chip) for number, group in enumerate(self.groups)])

    def waits(self, chip: Chip) -> bool:
        """Whether some of the files under a chip are elsewhere."""
        groups = range(len(self.groups))
        return any(is_remote(path) for group in groups for path in self.index.under(chip.grid, group))

    def _group(self, number: int, group: BandFiles, chip: Chip) -> NDArray[np.float64]:
        sources = [
            RasterBands(path, _numbers(opened(path), group.bands), group.nodata)
            for path in self.index.under(chip.grid, number)
        ]
        if not sources:
            return np.full((len(group.bands), *chip.grid.shape_yx), np.nan)
        return read_mosaic(sources, chip.grid, self.modality.resampling)


@dataclass(frozen=True)
class FromFiles(Local):
    """The source of a layer that `files` give; made by `with_files`."""

    files: StaticLayer | None = None


def _numbers(raster: OpenRaster, bands: tuple[str, ...]) -> tuple[int, ...]:
    """The numbers of bands in a file: those of the same names, or all of a file that has as many."""
    names = raster.band_names
    if set(bands) <= set(names):
        return tuple(names.index(band) + 1 for band in bands)
    if len(raster.data_bands) == len(bands):
        return raster.data_bands
    raise Fatal(
        f"{raster.path} has {len(raster.data_bands)} bands ({', '.join(name or '?' for name in names[:8])}), and the "
        f"layer needs {', '.join(bands)}; give its bands these names, or name the files of each band in a .toml."
    )


def with_files(layers: Iterable[Modality], texts: Mapping[str, str], folder: Path) -> list[Modality]:
    """The layers, those that `texts` names with files as their source; `folder` is that of the corpus.

    Raises `Fatal` as `files_of`, and for a name that is none of the layers'.
    """
    known = {layer.name: layer for layer in layers}
    for name in texts:
        if name not in known:
            raise unknown_name("layer of the corpus in source.layers", name, known)
    return [_from_files(layer, texts[name], folder) if name in texts else layer for name, layer in known.items()]


def _from_files(layer: Modality, text: str, folder: Path) -> Modality:
    files = StaticLayer(layer, files_of(layer, text), _record(folder, layer))
    return replace(layer, source=FromFiles(files.values, files.absent, waits=files.waits, files=files))


def _record(folder: Path, layer: Modality) -> Path:
    return folder / SOURCES / f"{layer.name}.parquet"


def settle(layers: Iterable[Modality], begun: Iterable[str], folder: Path) -> None:
    """Before `layers` are pulled: keep the lists of their files. `begun` are layers of which some shard is finished.

    Raises `Fatal` for a layer that was begun from another source than it has now.
    """
    started = set(begun)
    for layer in layers:
        files = _static(layer)
        if layer.name in started and (files is None) == _record(folder, layer).exists():
            before, now = ("Earth Engine", "files") if files else ("files", "Earth Engine")
            raise Fatal(
                f"layer {layer.name!r} of {folder} was begun from {before} and cannot go on from {now}; put "
                f"source.layers.{layer.name} back as it was."
            )
        if files:
            files.settle()


def _static(layer: Modality) -> StaticLayer | None:
    return layer.source.files if isinstance(layer.source, FromFiles) else None
