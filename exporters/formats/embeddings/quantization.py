"""Embeddings as bytes: whole numbers from -127 to 127, with a scale for each vector or for each dimension."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray

from exporters.formats.embeddings.arrays import array_in
from exporters.formats.embeddings.layout import EMBEDDINGS
from pipeline.compression import FORMAT_VERSION, label_codecs

Scaling = Literal["vector", "dimension"]
QUANTIZATION = "geoemb:quantization"
ABSENT = -128
_SCALES = "scales"
_LARGEST = 127


@dataclass(frozen=True)
class Quantized:
    """`values` int8, `ABSENT` for NaN, and what they are to be multiplied by: `scales`, which broadcasts with them."""

    values: NDArray[np.int8]
    scales: NDArray[np.float32]


def scales_of(largest: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scales of absolute values up to `largest`; 1 where there are none."""
    return np.where(largest > 0, largest / np.float32(_LARGEST), np.float32(1)).astype(np.float32)


def largest_along(values: NDArray[np.float32], scaling: Scaling) -> NDArray[np.float32]:
    """The largest absolute value of each vector (rows, 1[, y, x]), or each dimension (1, width[, 1, 1])."""
    axes = 1 if scaling == "vector" else tuple(axis for axis in range(values.ndim) if axis != 1)
    known = np.abs(np.nan_to_num(values))
    return np.asarray(known.max(axis=axes, keepdims=True, initial=0), np.float32)


def quantized(values: NDArray[np.float32], scales: NDArray[np.float32]) -> NDArray[np.int8]:
    """Values (rows, width[, y, x]) as multiples of their scales, rounded."""
    with np.errstate(invalid="ignore"):
        multiples = np.clip(np.rint(values / scales), -_LARGEST, _LARGEST)
    return np.where(np.isnan(values), ABSENT, multiples).astype(np.int8)


def restored(stored: NDArray[np.int8], scales: NDArray[np.float32]) -> NDArray[np.float32]:
    """The inverse of `quantized`, but for the rounding."""
    values = stored.astype(np.float32) * scales
    return np.where(stored == ABSENT, np.float32(np.nan), values)


def attributes_of(scaling: Scaling) -> dict[str, Any]:
    """The attribute of a group whose embeddings are bytes."""
    scale = {"type": "array", "array_name": _SCALES}
    about = {"method": f"linear, a scale per {scaling}", "original_dtype": "float32", "quantized_dtype": "int8"}
    return {QUANTIZATION: {**about, "scale": scale}}


def put_scales(group: zarr.Group, scales: NDArray[np.float32], scaling: Scaling) -> None:
    """Write scales as `largest_along` shapes them, without the axes of length 1: by chip (and patch), or dimension."""
    axis = 1 if scaling == "vector" else 0
    plain = scales.squeeze(axis) if scaling == "vector" else scales.reshape(-1)
    names = ("chip", "y", "x")[: plain.ndim] if axis else ("dimension",)
    array = group.create_array(
        _SCALES, shape=plain.shape, dtype="float32", chunks=tuple(max(1, min(65_536, edge)) for edge in plain.shape),
        compressors=label_codecs(FORMAT_VERSION), dimension_names=names,
        attributes={"long_name": "what a stored embedding is multiplied by"},
    )  # fmt: skip
    array[...] = plain


def scales_in(group: zarr.Group, rows: slice) -> NDArray[np.float32]:
    """The scales of some rows, so that they broadcast with the stored embeddings."""
    array, dimensions = array_in(group, _SCALES), array_in(group, EMBEDDINGS)
    if array.metadata.to_dict()["dimension_names"] == ("dimension",):
        plain = np.asarray(array[...], np.float32)
        return plain.reshape(1, -1, *([1] * (dimensions.ndim - 2)))
    return np.expand_dims(np.asarray(array[rows], np.float32), 1)
