"""A corpus as people use it from Python: its chips, its arrays, and datasets for a training loop of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from geocorpus.extras import imported_with_extra
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
    def open(cls, folder: str | Path) -> Self:
        """Open an existing corpus; raises `Fatal` when there is none or it belongs to another manifest."""
        try:
            return super().open(Path(folder).expanduser())
        except RuntimeError as error:  # "~name" of somebody who has no home here
            raise Fatal(f"there is no folder {folder}: {error}.") from error

    def chip(self, row: int) -> OpenChip:
        """The chip of a row: its place, grid and scenes, and its layers; raises `Fatal` for a row that there is not."""
        count = len(self.manifest)
        if not 0 <= row < count:
            raise Fatal(f"there is no row {row} in {self.folder}; its rows are 0 to {count - 1}.")
        chip = self.manifest[row]
        return OpenChip(chip.location, chip.grid, chip.acquisition, chip.split, chip.row, corpus=self)

    def xarray(self) -> Dataset:
        """All arrays as xarray opens them, read when they are asked for: names, units, classes and nodata inside.

        Values are physical, float with NaN where there is no data. What is not finished yet reads as no data.
        """
        import xarray

        finalized = bool(self._metadata("").get("consolidated_metadata"))  # null before, with zarr-python 3.1.3
        with self.store.reading():
            return xarray.open_zarr(self.store.zarr(read_only=True), consolidated=finalized)

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


def _indices(modality: Modality, bands: Sequence[str] | None) -> list[int]:
    known = modality.band_names
    for band in bands or ():
        if band not in known:
            raise unknown_name(f"band of {modality.name}", band, known)
    return [known.index(band) for band in (known if bands is None else bands)]
