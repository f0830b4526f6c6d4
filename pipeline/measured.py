"""What becomes known of each chip when its layers are written: its own share of clouds, their shadows, and snow.

The manifest is frozen before a pixel is pulled, so these columns are in the ledger: with every shard that is written.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Fatal, unknown_name
from pipeline.manifest import COLUMNS
from pipeline.modality import Modality

if TYPE_CHECKING:
    from pipeline.corpus import Corpus

MEASURED = "measured"  # in the quality of a ledger entry: by column, one number or null for each row of the shard
CLOUD, SHADOW, SNOW = "chip_cloud_percent", "chip_shadow_percent", "chip_snow_percent"
Column = NDArray[np.float64]


def told_by(modality: Modality) -> tuple[str, ...]:
    """The columns that become known with a layer; none for a layer that tells nothing of the sky."""
    observed = modality.observed
    if observed is None or observed.cloud_rank is None:
        return ()
    classes = observed.classes
    also = ((SHADOW, classes.shadow), (SNOW, classes.snow)) if classes else ()
    return (CLOUD, *(name for name, codes in also if codes))


def measured_columns(corpus: Corpus) -> tuple[str, ...]:
    """The columns that the layers of a corpus tell, whether or not they are written; without those of its owner."""
    told = {name for layer in corpus.modalities.values() for name in told_by(layer)}
    return tuple(sorted(told - set(corpus.manifest.own_columns)))


def known_columns(corpus: Corpus) -> tuple[str, ...]:
    """All that `column` takes: columns of the manifest, of the owner, and those that are measured."""
    return (*COLUMNS, *corpus.manifest.own_columns, *measured_columns(corpus))


def column(corpus: Corpus, name: str) -> NDArray[Any]:
    """One of `known_columns`, (rows,), as the manifest gives it or as `measured`. Raises `Fatal` for another name."""
    if name in (*COLUMNS, *corpus.manifest.own_columns):
        return corpus.manifest.column(name)
    return measured(corpus, name)


def unknown_column(name: str, known: Iterable[str]) -> Fatal:
    """An error about a column that a corpus does not have; of one that can be measured, where it would come from."""
    if name in (CLOUD, SHADOW, SNOW):
        return Fatal(f"unknown column {name!r}: no layer of this corpus tells it; docs/quality.md says which ones do.")
    return unknown_name("column", name, known)


def measured(corpus: Corpus, name: str) -> Column:
    """One of `measured_columns`, (rows,): percent, NaN for a chip of which it is not known, or not yet.

    Of several layers that tell it, the one that is believed first counts for a chip (`Observed.cloud_rank`). Raises
    `Fatal` for another name, and for a damaged ledger entry.
    """
    if name not in measured_columns(corpus):
        raise unknown_column(name, known_columns(corpus))
    result = np.full(len(corpus.manifest), np.nan)
    for layer in _in_order(corpus.modalities.values(), name):
        _fill(result, corpus, layer, name)
    return result


def _in_order(layers: Iterable[Modality], name: str) -> list[Modality]:
    telling = [layer for layer in layers if name in told_by(layer)]
    return sorted(telling, key=lambda layer: (layer.observed.cloud_rank if layer.observed else None, layer.name))


def _fill(result: Column, corpus: Corpus, layer: Modality, name: str) -> None:
    """Put what a layer tells where nothing is known."""
    for entry in corpus.findings(layer.name):
        told = entry.quality.get(MEASURED, {}).get(name)
        if told is not None:
            rows = result[corpus.shards[entry.shard].slice]  # of an earlier state, fewer than the entry has
            values = np.array(told, dtype=np.float64)[: len(rows)]
            rows[:] = np.where(np.isnan(rows), values, rows)
