"""A layer that is computed when it is read, on the chips of a corpus: what a model says of them, for ways out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.formats.choice import Choice
from exporters.formats.selection import Selection
from pipeline.corpus import Corpus
from pipeline.layer_rows import LayerRows
from pipeline.manifest import Manifest
from pipeline.modality import Modality


class ComputedCorpus(Corpus):
    """The chips of a corpus with a single layer, `modality`; for reading alone.

    `compute` gives stored values (rows, bands[, y, x]) of manifest rows (rows,), int64, in the dtype of the layer.
    `manifest` has the same chips on the grids of these values.
    """

    def __init__(
        self, corpus: Corpus, manifest: Manifest, modality: Modality,
        compute: Callable[[NDArray[np.int64]], NDArray[Any]],
    ) -> None:  # fmt: skip
        super().__init__(corpus.folder, manifest, corpus.shard_rows, corpus.store)
        self.format_version = corpus.format_version
        self.modalities = {modality.name: modality}
        self.compute = compute

    def read(self, name: str, rows: slice) -> NDArray[Any]:
        """Compute the values (rows, bands[, y, x]) of the layer; raises what `compute` does."""
        self.modality(name)
        return self.compute(np.arange(rows.start, rows.stop))

    def selected(self, choice: Choice) -> Selection:
        """The chips that are chosen; raises as `Choice.of` does."""
        selection = choice.of(self)
        return ComputedSelection(self, selection.rows, selection.layers, ComputedRows(self))


class ComputedRows(LayerRows):
    """The rows of a layer that is computed."""

    def __init__(self, corpus: ComputedCorpus) -> None:
        self._computed = corpus

    def values(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Values (n, bands[, y, x]) of rows (n,) of the manifest."""
        return self._computed.compute(rows)

    def reason(self, row: int) -> str | None:
        """None: nothing says why a row has no data."""
        return None


@dataclass(frozen=True)
class ComputedSelection(Selection):
    """A selection of a `ComputedCorpus`; `computed` are its rows."""

    computed: ComputedRows

    def layer(self, name: str) -> LayerRows:
        """The layer, computed for the rows that are asked for and no others."""
        return self.computed
