"""A chip as xarray and rioxarray know rasters: x and y in metres of its CRS, values in units, classes as integers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from exporters.formats.chip_facts import chip_facts
from pipeline.chip import Chip
from pipeline.coordinates import COORDINATES
from pipeline.layout import array_attributes
from pipeline.manifest import Manifest
from pipeline.modality import Modality
from pipeline.observed import OBSERVED

if TYPE_CHECKING:
    from xarray import Dataset, Variable

# What a value in its units no longer has, and what is no text or number.
_OF_STORED = ("geocorpus", OBSERVED, "_FillValue", "scale_factor", "add_offset")


def georeferenced(chip: Chip, layers: Sequence[tuple[Modality, NDArray[Any]]]) -> Dataset:
    """Stored values (bands[, y, x]) of a chip's layers as a Dataset with a CRS, "spatial_ref", for rioxarray."""
    import rioxarray  # noqa: F401  # makes .rio
    import xarray
    from affine import Affine

    variables = {modality.name: _variable(modality, stored) for modality, stored in layers}
    centres = dict(zip("yx", chip.grid.centres_yx, strict=True))
    names = {modality.band_axis: list(modality.band_names) for modality, _ in layers}
    facts = {key: int(value) if isinstance(value, bool) else value for key, value in chip_facts(chip).items()}
    place = {name: item for name, item in _place(chip).items() if name not in variables}  # of older stores' layers
    data = xarray.Dataset(variables, {**centres, **names, **place}, facts)
    placed: Dataset = data.rio.write_crs(chip.grid.crs).rio.write_transform(Affine(*chip.grid.transform))
    return placed


def _variable(modality: Modality, stored: NDArray[Any]) -> Variable:
    from xarray import Variable

    dimensions = (modality.band_axis, "y", "x")[: stored.ndim]
    attributes = {key: value for key, value in array_attributes(modality).items() if key not in _OF_STORED}
    if not modality.categories:
        return Variable(dimensions, modality.physical(stored).astype(np.result_type(stored, np.float32)), attributes)
    # netCDF wants both in the dtype of the values.
    typed = {"_FillValue": modality.fill, "flag_values": np.array(modality.codes, modality.dtype)}
    return Variable(dimensions, stored, attributes | typed)


def _place(chip: Chip) -> dict[str, Variable]:
    """What the coordinates of a store say of the chip, under their names."""
    from xarray import Dataset, Variable, decode_cf

    alone = Manifest.freeze([chip], 0)
    stored = {
        item.name: Variable("chip", _plain_text(next(item.blocks(alone))), item.attributes) for item in COORDINATES
    }
    decoded = decode_cf(Dataset(stored)).isel(chip=0)
    return {name: decoded[name].variable for name in stored}


def _plain_text(values: NDArray[Any]) -> NDArray[Any]:
    """The same, with texts as every release of xarray can put them into netCDF."""
    return np.array(values.tolist(), np.str_) if values.dtype.kind == "T" else values
