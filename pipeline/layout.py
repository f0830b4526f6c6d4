"""The lay-out of a corpus's store: the objects of its empty arrays, their metadata, coordinates and names of bands.

It follows from the manifest, the specifications of the layers, and the version of the format alone, to the byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import zarr
from zarr.storage import MemoryStore

from pipeline.compression import chip_codecs, label_codecs
from pipeline.coordinates import CHUNK_ROWS, COORDINATE_NAMES, Coordinate, coordinates_of
from pipeline.manifest import Manifest
from pipeline.modality import BAND_PREFIX, Modality
from pipeline.store import METADATA

TITLE = "geocorpus"  # of every store


@dataclass(frozen=True)
class Layout:
    """How the store for the rows of `manifest` is cut, `shard_rows` rows a shard, and encoded, by a format's version.

    Objects are given by key, to the byte as zarr-python would store them.
    """

    manifest: Manifest
    shard_rows: int
    format_version: int

    @property
    def coordinates(self) -> tuple[Coordinate, ...]:
        """The arrays that say which chip a row is."""
        return coordinates_of(self.format_version)

    def reserves(self, name: str) -> bool:
        """Whether a store of this format keeps a name for itself, so that none of its layers has it."""
        return name.startswith(BAND_PREFIX) or any(item.name == name for item in self.coordinates)

    def root_attributes(self) -> dict[str, Any]:
        """The attributes of the store, as they follow from the manifest and the lay-out."""
        return {
            "Conventions": "CF-1.11",
            "title": TITLE,
            "coordinates": " ".join(item.name for item in self.coordinates if item.name != "chip"),
            "format_version": self.format_version,
            "manifest_digest": self.manifest.digest,
            "shard_rows": self.shard_rows,
        }

    def root_objects(self) -> dict[str, memoryview]:
        """The objects of the root and the coordinates, by key, as they follow from the manifest."""
        return _objects(self._create_root)

    def array_objects(self, modality: Modality) -> dict[str, memoryview]:
        """The objects of an empty array and of its names of bands, by key."""
        objects = _objects(partial(self._create_array, modality=modality))
        del objects[METADATA]
        return objects

    def objects(self, modalities: Iterable[Modality]) -> dict[str, memoryview]:
        """The objects of the whole empty store with the arrays of `modalities`."""
        layers = tuple(modalities)
        return _objects(partial(self._create_store, modalities=layers))

    def _create_store(self, group: zarr.Group, modalities: Iterable[Modality]) -> None:
        self._create_root(group)
        for modality in modalities:
            self._create_array(group, modality)

    def _create_root(self, group: zarr.Group) -> None:
        """Create the attributes and the coordinates."""
        group.update_attributes(self.root_attributes())
        for item in self.coordinates:
            self._create_coordinate(group, item)

    def _create_coordinate(self, group: zarr.Group, item: Coordinate) -> None:
        rows = len(self.manifest)
        fill: dict[str, Any] = {} if item.fill is None else {"fill_value": item.fill}
        array = group.create_array(
            item.name, shape=(rows,), dtype=item.dtype, chunks=(max(1, min(rows, CHUNK_ROWS)),),
            compressors=label_codecs(self.format_version), dimension_names=("chip",),
            attributes=dict(item.attributes), **fill,
        )  # fmt: skip
        for number, block in enumerate(item.blocks(self.manifest)):
            array[number * CHUNK_ROWS : number * CHUNK_ROWS + len(block)] = block

    def _create_array(self, group: zarr.Group, modality: Modality) -> None:
        self._create_band_names(group, modality)
        shape = modality.shape(self.manifest.size_px)
        rows = len(self.manifest)
        pixel = modality.extent == "pixel"
        group.create_array(
            modality.name,
            shape=(rows, *shape),
            chunks=(1 if pixel else self.shard_rows, *shape),
            shards=(self.shard_rows, *shape) if pixel else None,
            dtype=modality.dtype,
            fill_value=modality.fill,
            compressors=chip_codecs(modality.dtype, self.format_version),
            dimension_names=_dimensions(modality),
            attributes=array_attributes(modality),
        )

    def _create_band_names(self, group: zarr.Group, modality: Modality) -> None:
        name = modality.band_axis
        names = np.array(modality.band_names, dtype=np.dtypes.StringDType())
        bands = group.create_array(
            name, shape=names.shape, dtype="string", chunks=names.shape,
            compressors=label_codecs(self.format_version), dimension_names=(name,),
        )  # fmt: skip
        bands[:] = names


def _objects(build: Callable[[zarr.Group], None]) -> dict[str, memoryview]:
    """The objects of a group that `build` fills, by key, as zarr-python would store them."""
    buffers: dict[str, Any] = {}
    build(zarr.open_group(MemoryStore(buffers), mode="w"))
    return {key: memoryview(buffer.as_buffer_like()) for key, buffer in buffers.items()}


def array_attributes(modality: Modality) -> dict[str, Any]:
    """CF attributes, which xarray understands, and the full specification under "geocorpus"."""
    attributes: dict[str, Any] = {"long_name": modality.title, "geocorpus": modality.specification()}
    attributes |= modality.licence.attributes() if modality.licence else {}
    attributes |= modality.observed.attributes() if modality.observed else {}
    units = {band.units for band in modality.bands}
    if len(units) == 1:
        attributes["units"] = units.pop()
    attributes["band_units"] = [band.units for band in modality.bands]
    if modality.categories:
        attributes["flag_values"] = list(modality.codes)
        attributes["flag_meanings"] = " ".join(_one_word(category.name) for category in modality.categories)
        attributes["flag_colours"] = [category.colour for category in modality.categories]
    attributes["_FillValue"] = _cf_fill(modality)
    if (modality.scale, modality.offset) != (1.0, 0.0):
        attributes |= {"scale_factor": modality.scale, "add_offset": modality.offset}
    return attributes


def _cf_fill(modality: Modality) -> Any:
    """`_FillValue` as xarray stores it; without it xarray would take nodata for data."""
    from xarray.backends.zarr import FillValueCoder  # here, as every command would wait for xarray

    return FillValueCoder.encode(modality.fill.item(), np.dtype(modality.dtype))


_GRID_NAMES = ("x", "y", "spatial_ref")


def is_reserved(name: str) -> bool:
    """Whether a store of the present format keeps a name for itself, so that no new layer can have it."""
    return name in COORDINATE_NAMES or name.startswith(BAND_PREFIX)


def is_taken(name: str) -> bool:
    """Whether no new modality can have a name: the store's own, and those of a chip's grid in xarray."""
    return is_reserved(name) or name in _GRID_NAMES


def _one_word(name: str) -> str:
    return "_".join(name.replace("/", " ").replace(",", " ").split()).lower()


def _dimensions(modality: Modality) -> tuple[str, ...]:
    space = ("y", "x") if modality.extent == "pixel" else ()
    return ("chip", modality.band_axis, *space)
