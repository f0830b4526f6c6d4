"""Arrays of Zarr version 2 in what GDAL 3.8 reads of it: no blosc, no text of variable length, no float16."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from exporters.formats.chip_raster import layer_tags
from pipeline.layout import array_attributes
from pipeline.modality import Modality
from pipeline.observed import OBSERVED

# GDAL 3.12 refuses a float16 whose fill is NaN; float32 holds each of its values.
_WIDENED = {"float16": "float32"}
# What Zarr keeps as fill_value, and a specification that nothing but geocorpus reads.
_OURS = ("geocorpus", OBSERVED, "_FillValue")


@dataclass(frozen=True)
class Arrays:
    """Where arrays are made, a group of Zarr version 2, and the codec of numcodecs that packs them; None for none."""

    group: zarr.Group
    compressor: Any

    def put(
        self,
        name: str,
        dimensions: Sequence[str],
        values: NDArray[Any],
        attributes: Mapping[str, Any],
        fill: Any = None,
    ) -> None:
        """Write an array in one piece; text of any length becomes text of the longest one's."""
        plain = np.array(values.tolist(), np.str_) if values.dtype.kind in "OT" else values
        array = self.empty(name, dimensions, plain.shape, plain.shape, plain.dtype, attributes, fill)
        array[...] = plain

    def empty(
        self, name: str, dimensions: Sequence[str], shape: tuple[int, ...], chunks: tuple[int, ...], dtype: Any,
        attributes: Mapping[str, Any], fill: Any = None,
    ) -> zarr.Array[Any]:  # fmt: skip
        """An array that reads as `fill`, with names of its dimensions as xarray and GDAL find them."""
        return self.group.create_array(
            name, shape=shape, chunks=chunks, dtype=dtype, fill_value=fill, compressors=self.compressor, filters=None,
            attributes={"_ARRAY_DIMENSIONS": list(dimensions), **attributes},
        )  # fmt: skip

    def put_band_names(self, modality: Modality) -> None:
        """Write the names along a layer's axis of bands."""
        self.put(modality.band_axis, [modality.band_axis], np.array(modality.band_names), {"long_name": "band"})


def widened(modality: Modality) -> np.dtype[Any]:
    """The dtype of a layer's array: the stored one, or the next wider where a reader has none such."""
    return np.dtype(_WIDENED.get(modality.dtype, modality.dtype))


def layer_attributes(modality: Modality) -> dict[str, Any]:
    """What a layer is: CF's attributes (units, scale_factor, flag_values), and "class_10" for the class of code 10."""
    cf = {key: value for key, value in array_attributes(modality).items() if key not in _OURS}
    return {**cf, **layer_tags(modality)}
