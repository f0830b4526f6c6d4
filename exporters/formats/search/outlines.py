"""The outlines of chips in a store of embeddings, from the grids that it names."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
import zarr
from numpy.typing import NDArray

from exporters.formats.embeddings.store import EmbeddingStore
from pipeline.grid import Grid

_COLUMNS = ("epsg", "origin_x_m", "origin_y_m", "resolution_m")


def outlines_of(store: EmbeddingStore, places: NDArray[np.int64]) -> NDArray[Any]:
    """Outlines (n,) in degrees of what was looked at of the chips at `places` (n,) in the store.

    Where a chip's grid has no EPSG code, its centre: a point.
    """
    group = zarr.open_group(store.path / store.views[0], mode="r")
    columns = [np.asarray(group[name][...])[places] for name in _COLUMNS]  # type: ignore[index]
    size = (store.description.image_px, store.description.image_px)
    centres = store.lonlat[places]
    shapes = [
        Grid(f"EPSG:{epsg}", (float(x), float(y)), size, float(resolution)).footprint() if epsg else shapely.Point(at)
        for epsg, x, y, resolution, at in zip(*columns, centres, strict=True)
    ]
    return np.array(shapes, dtype=object)
