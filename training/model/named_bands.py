"""The bands of an array in the order of a layer: by name where the array carries names, otherwise as they come."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Fatal, unknown_name
from pipeline.modality import Modality


def bands_in_order(modality: Modality, given: Any, absent: Any = None) -> NDArray[Any]:
    """The array (rows, bands, y, x) with exactly the bands of `modality`, in their order.

    A DataArray of xarray whose dimension of bands (`band_<layer>`, or `band`) has names may hold them in any order, and
    others as well; a band that it lacks is `absent` everywhere, unless that is None. Anything else (NumPy, masked
    arrays, tensors) is taken by position. Raises `Fatal` for a band that is not there, and for another number of
    dimensions or bands.
    """
    array = np.asanyarray(_chosen(modality, given, absent) if _is_labelled(given) else given)
    if array.ndim != 4 or array.shape[1] != len(modality.bands):
        wanted = ", ".join(modality.band_names)
        raise Fatal(
            f"{modality.name!r} has shape {array.shape}; give (rows, {len(modality.bands)}, y, x) with {wanted}."
        )
    return array


def coordinate(given: Any, name: str) -> list[str] | None:
    """The values of a coordinate along the rows of a DataArray, such as its processing levels; None without it."""
    if not _is_labelled(given) or name not in given.coords:
        return None
    return [str(value) for value in np.atleast_1d(given.coords[name].values)]


def _is_labelled(given: Any) -> bool:
    """Whether it is a DataArray, known by what it has: xarray need not be there."""
    return all(hasattr(given, part) for part in ("dims", "coords", "isel"))


def _chosen(modality: Modality, given: Any, absent: Any) -> Any:
    along = next((name for name in (modality.band_axis, "band") if name in given.dims), None)
    if along is None:
        return given
    first, *others = [name for name in given.dims if name != along]
    given = given.transpose(first, along, *others)
    if along not in given.coords or given.coords[along].dtype.kind in "iuf":  # numbers name no band
        return given
    names = [str(name) for name in given.coords[along].values]
    if absent is not None and set(names) & set(modality.band_names):
        return given.assign_coords({along: names}).reindex({along: list(modality.band_names)}, fill_value=absent)
    for band in modality.band_names:
        if band not in names:
            raise unknown_name(f"band of {modality.name} in the array that was given", band, names)
    return given.isel({along: [names.index(band) for band in modality.band_names]})
