"""A modality as training uses it, read from the store: bands, moments per group, channels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.corpus import Corpus
from pipeline.errors import Fatal, unknown_name
from pipeline.modality import Modality
from pipeline.statistics import EVERYTHING, BandStatistics
from training.standardiser import Moments, Standardiser

Presence = bool | Literal["bands"]  # what a net is told of a layer: nothing, whether it is there, which bands are
PRESENCE = "presence"
IGNORED = -1  # The class index of a pixel without a class.


@dataclass(frozen=True)
class Layer:
    """A modality as input or target: its chosen `bands` (indices into the stored bands) and moments per group.

    `constant_bands` are the names of those that have one value throughout the train rows. With `presence`, as an input,
    a plane beside its channels says whether a chip has any of it; with "bands", one plane per band says so of each.
    With `hide_outside`, values outside of the layer's valid range are no data.
    """

    modality: Modality
    bands: tuple[int, ...]
    groups: Mapping[str, Moments]
    constant_bands: tuple[str, ...] = ()
    presence: Presence = False
    hide_outside: bool = False

    @property
    def name(self) -> str:
        """The modality's name."""
        return self.modality.name

    @property
    def pixel(self) -> bool:
        """True for values per pixel, False for one value per chip."""
        return self.modality.extent == "pixel"

    @property
    def classes(self) -> int:
        """Number of classes; 0 for a continuous layer."""
        return len(self.modality.categories)

    @property
    def channels(self) -> int:
        """Channels per pixel, of values (classes one-hot) and as a prediction (a logit per class)."""
        return len(self.bands) * max(1, self.classes)

    @property
    def input_channels(self) -> int:
        """Channels per pixel as an input: those of the values, and the planes of `presence`."""
        return self.channels + len(self.planes)

    @property
    def planes(self) -> tuple[str, ...]:
        """The names of the planes behind its channels as an input, which say what a chip has of it."""
        if self.presence == "bands":
            return tuple(f"{PRESENCE} of {self.modality.band_names[band]}" for band in self.bands)
        return (PRESENCE,) if self.presence else ()

    def values(self, stored: NDArray[Any], groups: Iterable[str]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Values for the net and their bool mask, both (rows, bands[, y, x]), of stored (rows, all bands[, y, x]).

        Continuous: float32, normalised with the moments of each row's group, 0 (the mean) where there is no data.
        Categorical: int64 class indices, `IGNORED` where the code is nodata or unknown. `groups` has one per row.
        """
        chosen = stored[:, list(self.bands)]
        if self.classes:
            indices = self._class_indices(chosen)
            return indices, indices != IGNORED
        return self._standardised(chosen, groups)

    def _class_indices(self, codes: NDArray[Any]) -> NDArray[np.int64]:
        order = np.argsort(self.modality.codes)
        known = np.asarray(self.modality.codes, dtype=np.int64)[order]
        index = np.searchsorted(known[:-1], codes)
        return np.where(known[index] == codes, order[index], IGNORED)

    def _standardised(self, stored: NDArray[Any], groups: Iterable[str]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        indices = self.group_indices(groups)
        valid = self.modality.valid(stored) & self.standardiser.known(stored, indices)
        values = stored.astype(np.float32)
        if self.inside is not None:
            valid &= (values >= self.inside[0]) & (values <= self.inside[1])
        with np.errstate(invalid="ignore"):  # Non-finite values stop the run later, with a report.
            values = self.standardiser.standardise(values, indices)
        return np.where(valid, values, np.float32(0)), valid

    def stored(self, values: NDArray[Any], groups: Iterable[str]) -> NDArray[Any]:
        """The inverse of `values` where there is data: (rows, bands[, y, x]) in the stored dtype.

        Class indices must not be `IGNORED`. For an integer dtype, numbers are rounded and clipped to the valid range
        of their band.
        """
        kind = np.dtype(self.modality.dtype)
        if self.classes:
            return np.asarray(self.modality.codes)[values].astype(kind)
        numbers = self.standardiser.restore(values, self.group_indices(groups))
        if kind.kind != "f":
            low, high = self._bounds
            limits = np.iinfo(kind)
            numbers = np.round(np.clip(numbers, np.maximum(low, limits.min), np.minimum(high, limits.max)))
        return numbers.astype(kind)

    @cached_property
    def standardiser(self) -> Standardiser[NDArray[Any]]:
        """The moments of all groups, as tables."""
        return Standardiser.of(self.groups, len(self.bands))

    @property
    def inside(self) -> NDArray[np.float32] | None:
        """The least and the greatest stored value that is data, of every chosen band; None for no bounds.

        (2, bands, 1, 1) or at image level (2, bands), float32.
        """
        hides = self.hide_outside and self.modality.has_ranges
        return self._bounds.astype(np.float32) if hides else None

    @property
    def _bounds(self) -> NDArray[np.float64]:
        """Those of the chosen bands, as `Modality.bounds` has them."""
        return self.modality.bounds[:, list(self.bands)]

    def group_indices(self, groups: Iterable[str]) -> NDArray[np.int64]:
        """The index of each group in `self.groups`, (rows,) int64; len(self.groups) for a group without statistics."""
        indices = {group: index for index, group in enumerate(self.groups)}
        return np.array([indices.get(str(group), len(indices)) for group in groups], dtype=np.int64)

    def describe(self) -> dict[str, Any]:
        """Bands and moments as JSON values, so that users of the weights can prepare the same input."""
        groups = {
            group: {"mean": moments.mean.tolist(), "std": moments.std.tolist()}
            for group, moments in self.groups.items()
        }
        names = [self.modality.band_names[band] for band in self.bands]
        return {"bands": names, "statistics_by": self.modality.statistics_by, "groups": groups}


def layer_of(corpus: Corpus, name: str, bands: Mapping[str, Sequence[str]]) -> Layer:
    """The layer called `name`, with its entry in `bands`, or else the bands with data in every group.

    Where no band has data in every group, all bands are used: a target without data is no error, it has no loss.
    Raises `Fatal` for an unknown modality or band.
    """
    modality = corpus.modality(name)
    statistics = corpus.statistics(name)
    chosen = _named(modality, bands[name]) if name in bands else _common(modality, statistics)
    groups = {group: moments_of([of_bands[band] for band in chosen]) for group, of_bands in statistics.items()}
    constant = (band for band in chosen if _is_constant([of_bands[band] for of_bands in statistics.values()]))
    return Layer(modality, chosen, groups, tuple(modality.band_names[band] for band in constant))


def _is_constant(groups: Sequence[BandStatistics]) -> bool:
    """Whether a band has data, and every group the same single value of it."""
    seen = {value for band in groups if band.count for value in (band.minimum, band.maximum)}
    return len(seen) == 1


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


def moments_of(bands: Sequence[BandStatistics]) -> Moments:
    """The moments of some bands; a band of one value has a deviation of 1."""
    std = np.array([band.std for band in bands], dtype=np.float32)
    mean = np.array([band.mean for band in bands], dtype=np.float32)
    return Moments(mean, np.where(std > 0, std, np.float32(1)), np.array([band.count > 0 for band in bands]))


def group_indices_of(corpus: Corpus, layer: Layer) -> NDArray[np.int64]:
    """The index of each manifest row's group, (rows,) int64, as `Layer.group_indices` gives it."""
    groups, inverse = np.unique(groups_of(corpus, layer), return_inverse=True)
    return layer.group_indices(groups)[inverse]


def groups_of(corpus: Corpus, layer: Layer) -> NDArray[np.str_]:
    """The group of statistics of each manifest row, (rows,) str."""
    column = layer.modality.statistics_by
    if column is None:
        return np.broadcast_to(np.array(EVERYTHING), (len(corpus.manifest),))
    return corpus.manifest.column(column).astype(np.str_)
