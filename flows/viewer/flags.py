"""Quality flags of single chips in the explorer: as columns for colours and filters, and in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporters.quality.flagged_rows import TITLES, FlaggedRows, Kind, flagged_rows, kinds_of
from flows.viewer.column import Column, Made, small
from flows.viewer.open_layers import OpenLayers
from pipeline.corpus import Corpus
from pipeline.ledger import Entry

FLAG, ANY = "flag:", "flags"
NO_FLAG, NO_DATA, NOT_LOOKED_AT, NOT_NAMED = "none", "no data", "not looked at", "perhaps: an older ledger names some"


@dataclass(frozen=True)
class Flags:
    """The flags of the chips of a corpus, from the ledger; those of layers that can have any."""

    corpus: Corpus

    def columns(self) -> list[Made]:
        """One for all layers together, and one for each layer and flag; none where no layer can have any."""
        kinds = self._kinds()
        single = [Made(f"{FLAG}{kind}:{name}", f"{name}: {TITLES[kind]}", self._of_kind(name, kind), kept=False)
                  for name, found in kinds.items() for kind in found]  # fmt: skip
        return [Made(ANY, "any quality flag", self._of_any, kept=False), *single] if single else []

    def of(self, row: int, layers: OpenLayers) -> list[str]:
        """What one chip is flagged for, such as "radar: polarisation lost (ascending VH)"; `layers` of this corpus."""
        entries = {name: layers.entry(name, row) for name in self._kinds()}
        return [f"{name}: {TITLES[item.kind]} ({item.what})" for name, entry in entries.items() if entry is not None
                for item in flagged_rows(entry.quality) if row in item.rows]  # fmt: skip

    def _kinds(self) -> dict[str, tuple[Kind, ...]]:
        found = {name: kinds_of(layer) for name, layer in sorted(self.corpus.modalities.items())}
        return {name: kinds for name, kinds in found.items() if kinds}

    def _of_kind(self, layer: str, kind: Kind) -> Callable[[str, str], Column]:
        return lambda name, title: _coded(name, title, self._said(layer, kind))

    def _said(self, layer: str, kind: Kind) -> NDArray[np.object_]:
        """A text for each row: where it is flagged, or why it is not."""
        said = np.full(len(self.corpus.manifest), NOT_LOOKED_AT, dtype=object)
        for entry in self.corpus.findings(layer):
            if "chips" in entry.quality:  # an entry that was put together from others has no findings
                flags = [item for item in flagged_rows(entry.quality) if item.kind == kind]
                _fill(said, entry, flags)
        return said

    def _of_any(self, name: str, title: str) -> Column:
        """By row, the layers that are flagged."""
        layers: list[list[str]] = [[] for _ in range(len(self.corpus.manifest))]
        looked_at = np.zeros(len(layers), dtype=bool)
        for layer in self._kinds():
            for entry in self.corpus.findings(layer):
                looked_at[slice(*entry.rows)] |= "chips" in entry.quality
                for row in {row for item in flagged_rows(entry.quality) for row in item.rows}:
                    layers[row].append(layer)
        nothing = np.where(looked_at, NO_FLAG, NOT_LOOKED_AT).tolist()
        said = [" and ".join(found) or none for found, none in zip(layers, nothing, strict=True)]
        return _coded(name, title, np.array(said, dtype=object))


def _fill(said: NDArray[np.object_], entry: Entry, flags: Iterable[FlaggedRows]) -> None:
    places: dict[int, list[str]] = defaultdict(list)
    unflagged = NO_FLAG
    for item in flags:
        unflagged = unflagged if item.are_all_named else NOT_NAMED
        for row in item.rows:
            places[row].append(item.what)
    said[slice(*entry.rows)] = unflagged
    for row in entry.missing:
        said[row] = NO_DATA
    for row, where in places.items():
        said[row] = " and ".join(where)


def _coded(name: str, title: str, said: NDArray[np.object_]) -> Column:
    """A column of classes: those without a flag first, then by name."""
    plain = [label for label in (NO_FLAG, NO_DATA, NOT_LOOKED_AT, NOT_NAMED) if label in set(said)]
    labels = (*plain, *sorted(set(said) - set(plain)))
    codes = {label: code for code, label in enumerate(labels)}
    return Column(name, title, "class", small(np.array([codes[text] for text in said]), len(labels)), labels)
