"""The empty store of embeddings: a group for each view, with its attributes and with which chips the rows are."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from exporters.formats.embeddings.chip_columns import put_chip_columns
from exporters.formats.embeddings.convention import attributes_of
from exporters.formats.embeddings.description import Description
from pipeline.compression import FORMAT_VERSION, chip_codecs
from pipeline.manifest import Manifest

EMBEDDINGS, VALID_SHARE = "embeddings", "valid_share"
DESCRIPTION = "geocorpus"  # the attribute of the root
_MOST_ROWS, _FEWEST_ROWS, _CHUNK_BYTES = 1024, 64, 16 << 20


@dataclass(frozen=True)
class StoreLayout:
    """A store for `rows` (n,) of a manifest, int64, as `description` says."""

    description: Description
    manifest: Manifest
    rows: NDArray[np.int64]
    chunk_rows: int

    @classmethod
    def of(
        cls, description: Description, manifest: Manifest, rows: NDArray[np.int64], chunk_rows: int | None = None
    ) -> StoreLayout:
        """With `chunk_rows` rows a chunk, which is the unit of work as well: by default some 16 MB where it can."""
        wanted = _CHUNK_BYTES // (4 * int(np.prod(description.shape)))
        default = int(np.clip(wanted // _FEWEST_ROWS * _FEWEST_ROWS, _FEWEST_ROWS, _MOST_ROWS))
        return cls(description, manifest, rows, chunk_rows or default)

    @property
    def parts(self) -> list[slice]:
        """The chunks, as slices of the rows of the store."""
        count = len(self.rows)
        return [slice(start, min(start + self.chunk_rows, count)) for start in range(0, count, self.chunk_rows)]

    @property
    def grids(self) -> Manifest:
        """The same chips on the grids of what was looked at: pixels of the centre, or its patches."""
        factor = self.description.image_px // self.description.shape[-1] if self.description.per_patch else 1
        return self.manifest.regridded(self.description.image_px, factor)

    def create(self, folder: Path, dtype: str = "float32", more: Mapping[str, Any] | None = None) -> zarr.Group:
        """Make the store in `folder`, a path that does not exist; `more` are further attributes of the groups."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of zarr-python, about texts of any length
            about = {DESCRIPTION: self.description.to_dict(), "manifest_digest": self.description.corpus_digest}
            root = zarr.create_group(folder, zarr_format=3, attributes={"Conventions": "CF-1.11", **about})
            for view in self.description.views:
                attributes = attributes_of(self.description, view, self.manifest.resolution_m, dtype)
                self._create_view(root.create_group(view.name, attributes=attributes | dict(more or {})), dtype)
        return root

    def _create_view(self, group: zarr.Group, dtype: str) -> None:
        names = put_chip_columns(group, self.grids, self.rows)
        shape, count = self.description.shape, len(self.rows)
        group.create_array(
            EMBEDDINGS, shape=(count, *shape), chunks=(min(count, self.chunk_rows), *shape), dtype=dtype,
            fill_value=NODATA[dtype], compressors=chip_codecs(dtype, FORMAT_VERSION),
            dimension_names=("chip", "dimension", *("y", "x")[: len(shape) - 1]),
            attributes={"coordinates": " ".join(names)},
        )  # fmt: skip
        group.create_array(
            VALID_SHARE, shape=(count,), chunks=(min(count, self.chunk_rows),), dtype="float32",
            fill_value=float("nan"), compressors=chip_codecs("float32", FORMAT_VERSION), dimension_names=("chip",),
            attributes={"long_name": "share of the values of all channels in use that are data"},
        )  # fmt: skip


NODATA = {"float32": float("nan"), "int8": -128}
