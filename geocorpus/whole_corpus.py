"""All chips of a corpus as one Dataset of xarray: read when asked for, some chips at a time."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.corpus import Corpus
from pipeline.manifest import Manifest
from pipeline.measured import measured, measured_columns
from pipeline.modality import Modality
from pipeline.own_columns import OUTLINE, PREFIX

if TYPE_CHECKING:
    from xarray import Dataset, Variable

_CHUNK_BYTES = 2**27  # as Dask cuts arrays by itself
_CONVERTED_AT_ONCE = 2**20  # values: what is made on the way, as float64, stays small
# How values become those of a file again. How the store is cut and compressed is its own affair: a part that begins
# within a shard could not be written so, nor a file of netCDF.
_ENCODING = ("dtype", "units", "calendar", "scale_factor", "add_offset", "_FillValue")


def whole_corpus(corpus: Corpus) -> Dataset:
    """The layers and coordinates of a corpus along `chip`; see `geocorpus.Corpus.xarray`."""
    import xarray

    finalized = bool(corpus._metadata("").get("consolidated_metadata"))  # null before, with zarr-python 3.1.3
    stored = dict.fromkeys(corpus.modalities, False)
    with corpus.store.reading():
        data = xarray.open_zarr(
            corpus.store.zarr(read_only=True), consolidated=finalized, chunks=None, mask_and_scale=stored
        )
    data = data.isel(chip=slice(len(corpus.manifest)))  # of an earlier state, its rows
    for variable in data.variables.values():
        variable.encoding = _kept(variable)
    layers = {name: _layer(corpus, item, data[name].variable) for name, item in corpus.modalities.items()}
    data = _with_own_columns(data.assign(layers), corpus.manifest)
    told = [name for name in measured_columns(corpus) if name not in data.variables and name not in data.sizes]
    return data.assign_coords({name: ("chip", measured(corpus, name), {"units": "percent"}) for name in told})


def _kept(variable: Variable) -> dict[str, Any]:
    known = {key: value for key, value in variable.encoding.items() if key in _ENCODING}
    return known if variable.dtype.kind in "fiuM" else {}


def _layer(corpus: Corpus, modality: Modality, stored: Variable) -> Variable:
    """Values (chip, bands[, y, x]) as they are used, of those that are stored."""
    values, attributes = _chunked(corpus, modality, stored), dict(stored.attrs)
    encoding = {key: attributes.pop(key) for key in ("_FillValue", "scale_factor", "add_offset") if key in attributes}
    attributes["geocorpus"] = json.dumps(attributes["geocorpus"])
    if modality.categories:
        attributes["flag_values"] = np.array(attributes["flag_values"], modality.dtype)
        values.attrs, values.encoding = attributes | {"nodata": modality.fill}, {}
    else:
        values = values.copy(data=_physical_values(modality, values.data))
        values.attrs, values.encoding = attributes, encoding | {"_FillValue": modality.fill, "dtype": modality.dtype}
    if modality.extent == "pixel":  # so that a part may begin at any row, and be of any rows
        values.encoding["chunks"] = (1, *stored.shape[1:])
    return values


def _chunked(corpus: Corpus, modality: Modality, stored: Variable) -> Variable:
    rows = _rows_at_once(corpus.shard_rows, _row_bytes(modality, stored.shape[1:]), len(corpus.manifest))
    if modality.extent != "pixel":
        rows = len(corpus.manifest)  # small, and one piece can be cut anywhere
    # Without a name, Dask would compute one from all that there is to read.
    return stored.chunk({"chip": max(1, rows)}, name=False)  # type: ignore[arg-type]


def _row_bytes(modality: Modality, shape: tuple[int, ...]) -> int:
    return math.prod(shape) * _dtype(modality).itemsize


def _rows_at_once(shard_rows: int, row_bytes: int, count: int) -> int:
    """A part of a shard that is read at once, or so many whole shards."""
    rows = shard_rows
    while rows * row_bytes > _CHUNK_BYTES and rows % 2 == 0:
        rows //= 2
    while 2 * rows * row_bytes <= _CHUNK_BYTES and rows < count:
        rows *= 2
    return rows


def _dtype(modality: Modality) -> np.dtype[Any]:
    """Of values as they are used: float32, or float64 where the stored dtype is wider than float32 can hold."""
    stored = np.dtype(modality.dtype)
    return stored if modality.categories else np.result_type(stored, np.float32)


def _physical_values(modality: Modality, stored: Any) -> Any:
    dtype = _dtype(modality)
    return stored.map_blocks(partial(_physical, modality), dtype=dtype, meta=np.empty((0,) * stored.ndim, dtype))


def _physical(modality: Modality, stored: NDArray[Any]) -> NDArray[Any]:
    """Values in the bands' units, NaN where there is no data, of stored ones (rows, bands[, y, x])."""
    values = np.empty(stored.shape, _dtype(modality))
    rows = max(1, _CONVERTED_AT_ONCE // max(1, math.prod(stored.shape[1:])))
    for start in range(0, len(stored), rows):
        values[start : start + rows] = modality.physical(stored[start : start + rows])
    return values


def _with_own_columns(data: Dataset, manifest: Manifest) -> Dataset:
    """The same with the columns that the owner brought, but outlines, as coordinates."""
    there = {*map(str, data.variables), *map(str, data.sizes)}  # x and y are axes without an array
    own = {name: _texts_or_numbers(manifest, name) for name in manifest.own_columns}
    free: Mapping[str, Any] = {_free(name, there | own.keys() - {name}): values for name, values in own.items()}
    return data.assign_coords({name: ("chip", values) for name, values in free.items() if values is not None})


def _free(name: str, taken: Collection[str]) -> str:
    """The name, with "own_" before it as often as it is taken."""
    return name if name not in taken else _free(f"{PREFIX}{name}", taken)


def _texts_or_numbers(manifest: Manifest, name: str) -> NDArray[Any] | None:
    """One of the owner's columns as xarray keeps it, "" for no text; None for outlines."""
    if manifest.own_type(name) == OUTLINE:
        return None
    cells = manifest.column(name)
    return cells if cells.dtype != object else np.array(["" if cell is None else str(cell) for cell in cells], np.str_)
