"""One number per chip from a raster: its mean over the chip's footprint, whatever CRS the file has."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from exporters.files.open_raster import opened
from exporters.files.raster import RasterBands, read_onto
from pipeline.grid import Grid


def footprint_means(path: str, band: int, grids: Iterable[Grid]) -> NDArray[np.float64]:
    """Means of band number `band`, from 1, over `grids`, (grids,) float64, NaN where the file has no data.

    The file is read onto each grid as `read_onto` does, bilinearly, so it may have another CRS. Raises `Fatal` for a
    file that is no raster, does not say where it lies, or lacks the band.
    """
    _ = opened(path).lattice
    return np.array([_mean(read_onto(RasterBands(path, (band,)), grid, "bilinear")) for grid in grids])


def _mean(values: NDArray[np.float64]) -> float:
    there = values[np.isfinite(values)]
    return float(there.mean()) if len(there) else float("nan")
