"""Reads a store of embeddings: which chips, by which model, and the vectors of each view as float32."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from exporters.formats.embeddings.arrays import array_in
from exporters.formats.embeddings.chip_columns import ID, ROW
from exporters.formats.embeddings.description import Description
from exporters.formats.embeddings.layout import DESCRIPTION, EMBEDDINGS, VALID_SHARE
from exporters.formats.embeddings.quantization import QUANTIZATION, restored, scales_in
from exporters.formats.leavings import object_in
from pipeline.corpus import Corpus
from pipeline.errors import Fatal, unknown_name
from pipeline.store import METADATA


@dataclass(frozen=True)
class EmbeddingStore:
    """What `geocorpus embed --to embeddings` wrote. Rows are in the order of the manifest."""

    path: Path
    description: Description

    @classmethod
    def open(cls, path: str | Path) -> EmbeddingStore:
        """The store at `path`; raises `Fatal` where there is none."""
        try:
            about = dict(zarr.open_group(Path(path), mode="r").attrs)[DESCRIPTION]
            return cls(Path(path), Description.from_dict(about))  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise Fatal(
                f"{path} is no store of embeddings; make one with `geocorpus embed --to embeddings`."
            ) from error

    @property
    def views(self) -> tuple[str, ...]:
        """The names of the views: of sensors or layers, and "fused" where there are several."""
        return self.description.names

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return self.description.width

    @property
    def model(self) -> str:
        """The address of the weights."""
        return self.description.model

    @property
    def corpus_digest(self) -> str:
        """The digest of the manifest of the corpus."""
        return self.description.corpus_digest

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Rows of the manifest, (rows,) int64, ascending."""
        return self._column(ROW).astype(np.int64)

    @cached_property
    def ids(self) -> NDArray[np.object_]:
        """Ids of the chips, (rows,)."""
        return np.asarray(self._column(ID).tolist(), dtype=object)

    @cached_property
    def lonlat(self) -> NDArray[np.float64]:
        """Degrees of the centres of what was looked at, (rows, 2)."""
        return np.stack([self._column(f"centre_{axis}") for axis in ("longitude", "latitude")], axis=1)

    def values(self, view: str, rows: slice = slice(None)) -> NDArray[np.float32]:
        """Vectors (rows, width) float32 of a view, NaN for none; (rows, width, y, x) where patches have their own.

        `rows` are some of the store's. Raises `Fatal` for another view.
        """
        group = self._group(view)
        stored = array_in(group, EMBEDDINGS)[rows]
        if QUANTIZATION not in group.attrs:
            return np.asarray(stored, np.float32)
        return restored(np.asarray(stored), scales_in(group, rows))

    def valid_share(self, view: str) -> NDArray[np.float32]:
        """How much of the values of the channels in use is data, (rows,) float32."""
        return np.asarray(array_in(self._group(view), VALID_SHARE)[...], np.float32)

    def check_corpus(self, corpus: Corpus) -> None:
        """Raise `Fatal` unless these are chips of `corpus`, or of an earlier state of it."""
        if self.corpus_digest not in corpus.manifest.lineage:
            raise Fatal(f"the embeddings in {self.path} are of another corpus than {corpus.folder}; embed its chips.")

    def check_model(self, digest: str) -> None:
        """Raise `Fatal` unless the weights that made them have the SHA-256 `digest`."""
        if self.description.model_digest != digest:
            known = self.description.weights or self.model
            raise Fatal(f"the embeddings in {self.path} are by other weights ({known}); embed with these.")

    def _group(self, view: str) -> zarr.Group:
        if view not in self.views:
            raise unknown_name(f"view of {self.path}", view, self.views)
        return zarr.open_group(self.path / view, mode="r")

    def _column(self, name: str) -> NDArray[Any]:
        return np.asarray(array_in(self._group(self.views[0]), name)[...])


def embeddings_left(folder: Path) -> set[str]:
    """What `geocorpus embed` left in a folder: the groups of the views that the root describes."""
    about = object_in(folder / METADATA).get("attributes", {}).get(DESCRIPTION, {})
    views = {view["name"] for view in about.get("views", ())}
    return {METADATA, *views} if views else set()
