"""A store of embeddings again as bytes, and what that costs a search."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from exporters.formats.embeddings.arrays import array_in
from exporters.formats.embeddings.layout import EMBEDDINGS, VALID_SHARE, StoreLayout
from exporters.formats.embeddings.quantization import (
    Scaling,
    attributes_of,
    largest_along,
    put_scales,
    quantized,
    scales_of,
)
from exporters.formats.embeddings.recall import recall_at
from exporters.formats.embeddings.store import EmbeddingStore

_NEAREST = (1, 10)
_MOST_COMPARED = 20_000


@dataclass(frozen=True)
class QuantizedStore:
    """The embeddings of `source`, laid out as `layout` says, in int8 with a scale per vector or per dimension."""

    source: EmbeddingStore
    layout: StoreLayout
    scaling: Scaling

    def write(self, folder: Path) -> str:
        """Write it to `folder`, a path that does not exist; returns a line about the loss in recall."""
        root = self.layout.create(folder, "int8", attributes_of(self.scaling))
        for view in self.source.views:
            self._write_view(root, view)
        losses = [self._loss(EmbeddingStore.open(folder), view) for view in self.source.views]
        return f"int8, a scale per {self.scaling}; of the nearest by cosine as float32, it has {'; '.join(losses)}."

    def _write_view(self, root: zarr.Group, view: str) -> None:
        group = zarr.open_group(root.store_path.store, path=view, mode="r+", zarr_format=3)
        largest = [largest_along(values, self.scaling) for _, values in self._parts(view)]
        joined = np.concatenate(largest) if self.scaling == "vector" else np.max(largest, axis=0)
        scales = scales_of(joined)
        for place, values in self._parts(view):
            here = scales[place] if self.scaling == "vector" else scales
            array_in(group, EMBEDDINGS)[place] = quantized(values, here)
        array_in(group, VALID_SHARE)[...] = self.source.valid_share(view)
        put_scales(group, scales, self.scaling)

    def _parts(self, view: str) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        return ((place, self.source.values(view, place)) for place in self.layout.parts)

    def _loss(self, stored: EmbeddingStore, view: str) -> str:
        exact, other = (_vectors(item.values(view, slice(0, _MOST_COMPARED))) for item in (self.source, stored))
        shares = ", ".join(f"recall@{count} {recall_at(exact, other, count):.4f}" for count in _NEAREST)
        return f"{view}: {shares}"


def _vectors(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values (rows, width[, y, x]) as one vector a line."""
    return np.moveaxis(values, 1, -1).reshape(-1, values.shape[1])
