"""A corpus as people use it from Python: its chips, its arrays, and datasets for a training loop of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from geocorpus.extras import imported_with_extra
from pipeline import arguments, measured
from pipeline import corpus as pipeline_corpus
from pipeline.chip import Chip
from pipeline.errors import Fatal, unknown_name
from pipeline.modality import Modality

if TYPE_CHECKING:
    from xarray import Dataset

    from training.data.chip_dataset import ChipDataset


def open(folder: str | Path) -> Corpus:
    """The corpus in a folder; raises `Fatal` when there is none.

    The arrays may be elsewhere, on another disk or in a bucket: the folder knows.
    """
    return Corpus.open(folder)


class Corpus(pipeline_corpus.Corpus):
    """A folder with a manifest and a ledger, and the arrays that belong to it. `geocorpus.open` gives one."""

    @classmethod
    def open(cls, folder: str | Path, state: str | None = None) -> Self:
        """Open an existing corpus; raises `Fatal` when there is none or it belongs to another manifest.

        `state` is the digest of a manifest that has grown since: of the corpus that it was then.
        """
        return super().open(arguments.path("the folder of a corpus", folder), state)

    def __repr__(self) -> str:
        layers = ", ".join(sorted(self.modalities))
        return f"Corpus {self.folder}: {len(self.manifest)} chips of {self.manifest.size_px} px, with {layers}"

    def chip(self, row: int) -> OpenChip:
        """The chip of a row: its place, grid and scenes, and its layers; raises `Fatal` for a row that there is not."""
        count, row = len(self.manifest), arguments.whole_number("the row of a chip", row)
        if not 0 <= row < count:
            raise Fatal(f"there is no row {row} in {self.folder}; its rows are 0 to {count - 1}.")
        chip = self.manifest[row]
        return OpenChip(chip.location, chip.grid, chip.acquisition, chip.split, chip.row, chip.own, corpus=self)

    def read(self, name: str, rows: slice) -> NDArray[Any]:
        """Values (rows, bands[, y, x]) in the stored dtype; `rows` is as for a list of all rows.

        Raises `Fatal` for a layer that there is not, if a shard of these rows is not finished, and for what is no
        slice.
        """
        self.modality(name)
        if not isinstance(rows, slice):
            raise Fatal(f"rows are read as a slice, such as slice(0, 4), not {rows!r:.80}.")
        start, stop, step = rows.indices(len(self.manifest))
        if step < 1:
            raise Fatal("rows are read forwards; turn them round afterwards.")
        return super().read(name, slice(start, max(start, stop), step))

    def column(self, name: str) -> NDArray[Any]:
        """What is known of every chip, (chips,): a column of the manifest, of the owner, or one that was measured.

        Measured is, from cloud layers as they are written, `chip_cloud_percent`, `chip_shadow_percent` and
        `chip_snow_percent`: percent as float64, NaN where it is not known, or not yet. Raises `Fatal` for another name.
        """
        return measured.column(self, name)

    def xarray(self) -> Dataset:
        """All chips, read when they are asked for: layers with names of bands, units, classes, and where each chip is.

        Classes are integers as stored, with the attribute `nodata`; all else is in its units, NaN where there is no
        data, float32 (float64 where the stored dtype is wider than float32 can hold). Layers are arrays of Dask in
        chunks of up to 128 MiB, which are whole shards or equal parts of one; layers of one value per chip are one
        chunk. What is not finished yet reads as no data. Coordinates along `chip` are those of the store (its CRS as
        `epsg`, `origin_x_m`, `origin_y_m`, `resolution_m`, its scenes, …; docs/storage.md lists them), the columns
        that the owner brought, but outlines, under their names, or with "own_" before the name of one that is there
        already, and those that are measured (see `column`). The attribute `geocorpus`, a layer's whole specification,
        is JSON text here, for netCDF has no other. Any rows of it can be saved with `to_zarr` and `to_netcdf`, packed
        as they are stored.
        """
        from geocorpus.whole_corpus import whole_corpus

        return whole_corpus(self)

    def torch_dataset(
        self,
        modalities: Sequence[str] | None = None,
        split: str | None = "train",
        bands: Mapping[str, Sequence[str]] | None = None,
        values: Literal["physical", "stored"] = "physical",
    ) -> ChipDataset:
        """A map-style dataset of PyTorch, and by its `shuffled` an iterable one; docs/own-loop.md says more.

        `modalities` None means all, `split` ("train", "val", "test") None every row; `bands` names those of some
        modalities, all of the others. A sample holds `<name>` and `<name>_valid` (bool) of shape (bands[, y, x]) for
        each modality, and `chip`: row, place and grid. With "physical", continuous values are float32 in the bands'
        units, 0 where there is no data, and classes int64 indices, -1 where there is none; with "stored", values are as
        in the store. Raises `Fatal` for a name that there is not or a split without finished rows, and `NotInstalled`
        without PyTorch.
        """
        module = imported_with_extra("training.data.chip_dataset", "torch_dataset")
        dataset: ChipDataset = module.ChipDataset(self, modalities, split, bands, values)
        return dataset


@dataclass(frozen=True)
class OpenChip(Chip):
    """A chip of a corpus, whose layers can be read."""

    corpus: Corpus = field(kw_only=True, repr=False, compare=False)

    def stored(self, name: str, bands: Sequence[str] | None = None) -> NDArray[Any]:
        """Values of a layer as they are stored, (bands[, y, x]) in its dtype; `bands` None means all of them.

        Raises `Fatal` for a layer that is not there yet, and for a band that it does not have.
        """
        chosen = _indices(self.corpus.modality(name), bands)
        return np.asarray(self.corpus.read(name, slice(self.row, self.row + 1))[0][chosen])

    def physical(self, name: str, bands: Sequence[str] | None = None) -> NDArray[np.float64]:
        """Values of a layer in its bands' units, (bands[, y, x]), NaN where there is no data; raises as `stored`."""
        return self.corpus.modality(name).physical(self.stored(name, bands))

    def xarray(self, names: Sequence[str] | None = None) -> Dataset:
        """Layers of the chip on its grid, `names` None means all of them: a Dataset that rioxarray knows the place of.

        Layers of pixels have coordinates `x` and `y`, centres of pixels in metres of the CRS, which `.rio.crs` gives.
        Classes are integers as stored, with nodata as `.rio.nodata`; all else is in its units, NaN where there is no
        data, float32 (float64 where the stored dtype is wider than float32 can hold). What is known of the chip is in
        the attributes. Raises `Fatal` for a layer that there is not, or not yet.
        """
        from geocorpus.georeferenced import georeferenced

        chosen = sorted(self.corpus.modalities) if names is None else arguments.names("layers", names)
        return georeferenced(self, [(self.corpus.modality(name), self.stored(name)) for name in chosen])


def _indices(modality: Modality, bands: Sequence[str] | None) -> list[int]:
    known = modality.band_names
    chosen = known if bands is None else arguments.names(f"the bands of {modality.name}", bands)
    for band in chosen:
        if band not in known:
            raise unknown_name(f"band of {modality.name}", band, known)
    return [known.index(band) for band in chosen]
