"""What the trainer needs to know of a modality, all of it read from the store: bands, moments, channels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.corpus import Corpus
from pipeline.errors import Fatal, unknown_name
from pipeline.modality import Modality
from pipeline.statistics import EVERYTHING, BandStatistics
from training.standardiser import Moments, Standardiser

IGNORED = -1  # The class index of a pixel without a class.


@dataclass(frozen=True)
class Layer:
    """A modality as input or target: its chosen `bands` (indices of the stored ones) and moments per group."""

    modality: Modality
    bands: tuple[int, ...]
    groups: Mapping[str, Moments]

    @property
    def name(self) -> str:
        """The modality's name."""
        return self.modality.name

    @property
    def pixel(self) -> bool:
        """Whether it has a value per pixel, not one per chip."""
        return self.modality.extent == "pixel"

    @property
    def classes(self) -> int:
        """Number of classes; 0 for a continuous layer."""
        return len(self.modality.categories)

    @property
    def channels(self) -> int:
        """Channels per pixel, as an input (classes one-hot) and as a prediction (a logit per class)."""
        return len(self.bands) * max(1, self.classes)

    def values(self, stored: NDArray[Any], groups: Iterable[str]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """What the net sees of stored values (rows, all bands[, y, x]), and where it is data, both (rows, bands, ...).

        Continuous: float32, normalised with the moments of each row's group, 0 (the mean) where there is no data.
        Categorical: int64 class indices, `IGNORED` where the code is nodata or unknown.
        """
        chosen = stored[:, list(self.bands)]
        if self.classes:
            indices = self._class_indices(chosen)
            return indices, indices != IGNORED
        return self._standardised(chosen, groups)

    def _class_indices(self, codes: NDArray[Any]) -> NDArray[np.int64]:
        order = np.argsort(self.modality.codes)
        known = np.asarray(self.modality.codes, dtype=np.int64)[order]
        place = np.searchsorted(known[:-1], codes)
        return np.where(known[place] == codes, order[place], IGNORED)

    def _standardised(self, stored: NDArray[Any], groups: Iterable[str]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        indices = self.group_indices(groups)
        valid = self.modality.valid(stored) & self.standardiser.known(stored, indices)
        with np.errstate(invalid="ignore"):  # Values that are no numbers stop the run later, by name.
            values = self.standardiser.standardise(stored.astype(np.float32), indices)
        return np.where(valid, values, np.float32(0)), valid

    def stored(self, values: NDArray[Any], groups: Iterable[str]) -> NDArray[Any]:
        """The inverse of `values` where there is data: stored values, in the stored dtype, of (rows, bands[, y, x]).

        Class indices must be of classes. Numbers are rounded, and clipped to what the layer can hold, where the stored
        dtype is of whole numbers.
        """
        kind = np.dtype(self.modality.dtype)
        if self.classes:
            return np.asarray(self.modality.codes)[values].astype(kind)
        numbers = self.standardiser.restore(values, self.group_indices(groups))
        if kind.kind != "f":
            low, high = self.modality.valid_range or (np.iinfo(kind).min, np.iinfo(kind).max)
            numbers = np.round(np.clip(numbers, low, high))
        return numbers.astype(kind)

    @cached_property
    def standardiser(self) -> Standardiser[NDArray[Any]]:
        """The moments of its groups, as tables."""
        return Standardiser.of(self.groups, len(self.bands))

    def group_indices(self, groups: Iterable[str]) -> NDArray[np.int64]:
        """The index of each group among the layer's, (rows,); one past the last for one without statistics."""
        indices = {group: index for index, group in enumerate(self.groups)}
        return np.array([indices.get(str(group), len(indices)) for group in groups], dtype=np.int64)

    def describe(self) -> dict[str, Any]:
        """Bands and moments as JSON, so that whoever uses the weights can prepare the same input."""
        groups = {
            group: {"mean": moments.mean.tolist(), "std": moments.std.tolist()}
            for group, moments in self.groups.items()
        }
        names = [self.modality.band_names[band] for band in self.bands]
        return {"bands": names, "statistics_by": self.modality.statistics_by, "groups": groups}


def layer_of(corpus: Corpus, name: str, bands: Mapping[str, Sequence[str]]) -> Layer:
    """The layer called `name`, with the bands that `bands` names or else those with data in every group.

    Where no band has data everywhere, all of them stay; a target without any data is no error, just no loss.
    Raises `Fatal` for an unknown modality or band.
    """
    modality = corpus.modality(name)
    statistics = corpus.statistics(name)
    chosen = _named(modality, bands[name]) if name in bands else _common(modality, statistics)
    groups = {group: _moments([of_bands[band] for band in chosen]) for group, of_bands in statistics.items()}
    return Layer(modality, chosen, groups)


def _named(modality: Modality, names: Sequence[str]) -> tuple[int, ...]:
    for name in names:
        if name not in modality.band_names:
            raise unknown_name(f"band of {modality.name}", name, modality.band_names)
    if not names:
        raise Fatal(f"pretrain.bands.{modality.name} is empty; name at least one band.")
    return tuple(modality.band_names.index(name) for name in names)


def _common(modality: Modality, statistics: Mapping[str, Sequence[BandStatistics]]) -> tuple[int, ...]:
    every = range(len(modality.bands))
    common = tuple(band for band in every if all(of_bands[band].count for of_bands in statistics.values()))
    return common or tuple(every)


def _moments(bands: Sequence[BandStatistics]) -> Moments:
    std = np.array([band.std for band in bands], dtype=np.float32)
    mean = np.array([band.mean for band in bands], dtype=np.float32)
    return Moments(mean, np.where(std > 0, std, np.float32(1)), np.array([band.count > 0 for band in bands]))


def group_indices_of(corpus: Corpus, layer: Layer) -> NDArray[np.int64]:
    """The index, among the layer's groups, of each manifest row's own, (rows,); one past the last for none of them."""
    groups, inverse = np.unique(groups_of(corpus, layer), return_inverse=True)
    return layer.group_indices(groups)[inverse]


def groups_of(corpus: Corpus, layer: Layer) -> NDArray[np.str_]:
    """The group of statistics that each manifest row belongs to, (rows,)."""
    column = layer.modality.statistics_by
    if column is None:
        return np.broadcast_to(np.array(EVERYTHING), (len(corpus.manifest),))
    return corpus.manifest.column(column).astype(np.str_)
