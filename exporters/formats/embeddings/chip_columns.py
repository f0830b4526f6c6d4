"""Which chips embeddings are of, as arrays along `chip`: ids, rows, places and times, and the grid of each."""

from __future__ import annotations

from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from pipeline.compression import FORMAT_VERSION, label_codecs
from pipeline.coordinates import COORDINATES
from pipeline.manifest import Manifest

ROW, ID = "row", "chip"
_NAMES = (
    ID, "longitude", "latitude", "time", "split", "epsg", "origin_x_m", "origin_y_m", "resolution_m",
    "centre_longitude", "centre_latitude",
)  # fmt: skip
_CHUNK_ROWS = 65_536


def put_chip_columns(group: zarr.Group, manifest: Manifest, rows: NDArray[np.int64]) -> tuple[str, ...]:
    """Write the columns of `rows` (n,) of `manifest`, whose grids are those of the embeddings; returns their names."""
    _put(group, ROW, rows, {"long_name": "row of the manifest"})
    for item in (item for item in COORDINATES if item.name in _NAMES):
        values = np.concatenate(list(item.blocks(manifest)))[rows]
        _put(group, item.name, values, dict(item.attributes))
    return (ROW, *_NAMES)


def _put(group: zarr.Group, name: str, values: NDArray[Any], attributes: dict[str, Any]) -> None:
    array = group.create_array(
        name, shape=values.shape, dtype=values.dtype, chunks=(max(1, min(len(values), _CHUNK_ROWS)),),
        compressors=label_codecs(FORMAT_VERSION), dimension_names=("chip",), attributes=attributes,
    )  # fmt: skip
    array[...] = values
