"""`<name>_band_stats.json`: mean, std, min and max of every band, over what is data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.formats.mmearth_v001.datasets import LAYERS, LEVELS, PLACES, Dataset
from pipeline.modality import Band, Modality
from pipeline.statistics import BandStatistics, band_statistics

# float32 holds every value of the file's dtypes.
_PLAIN = Modality("any", "Any", (Band("any"),), "float32", float("nan"))
# What readers make of these is zero for a band without data; they would divide by what NumPy says of no values.
_NOTHING = {"mean": 0.0, "std": 1.0, "min": 0.0, "max": 1.0}


def has_stats(dataset: Dataset) -> bool:
    """Whether the published file has statistics of a dataset."""
    return dataset.by_level or not (dataset.codes or dataset.classes)


def stats_keys(dataset: Dataset) -> tuple[str, ...]:
    """The keys of a dataset's statistics: its name, or one for each level."""
    return tuple(f"{dataset.name}_{level}" for level in LEVELS) if dataset.by_level else (dataset.name,)


def block_stats(
    dataset: Dataset, values: NDArray[Any], valid: NDArray[np.bool_], levels: Sequence[str]
) -> dict[str, list[BandStatistics]]:
    """By key, the statistics of each band of values (k, bands[, y, x]) where they are valid; `levels` (k,) of rows."""
    keys = np.array([f"{dataset.name}_{level}" if dataset.by_level else dataset.name for level in levels])
    return {
        key: [
            band_statistics(_PLAIN, 0, values[keys == key, band][valid[keys == key, band]].astype(np.float32))
            for band in range(values.shape[1])
        ]
        for key in sorted(set(keys.tolist()))
    }


@dataclass
class BandStats:
    """Statistics of all datasets, merged block by block."""

    merged: dict[str, list[BandStatistics]] = field(default_factory=dict)

    def add(self, stats: dict[str, list[BandStatistics]]) -> None:
        """Those of one more block."""
        for key, bands in stats.items():
            before = self.merged.get(key, [BandStatistics()] * len(bands))
            self.merged[key] = [one.merge(other) for one, other in zip(before, bands, strict=True)]

    def write(self, path: Path) -> None:
        """The published keys, also where nothing was added, each a list with a number for every band."""
        data = {
            key: _as_lists(self.merged.get(key, [BandStatistics()] * len(dataset.bands)))
            for dataset in (*LAYERS, *PLACES)
            if has_stats(dataset)
            for key in stats_keys(dataset)
        }
        path.write_text(json.dumps(data, indent=1, allow_nan=False), encoding="utf-8")


def _as_lists(bands: Sequence[BandStatistics]) -> dict[str, list[float]]:
    plain = [_plain(band) for band in bands]
    return {name: [band[name] for band in plain] for name in _NOTHING}


def _plain(band: BandStatistics) -> dict[str, float]:
    if band.minimum is None or band.maximum is None:
        return _NOTHING
    return {"mean": band.mean, "std": band.std or _NOTHING["std"], "min": band.minimum, "max": band.maximum}
