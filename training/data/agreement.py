"""Whether corpora can be joined: one sentence for what does not agree, and one for places on both sides of a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.modality import Modality
from pipeline.nearest_pair import smallest_distance_m

# The fields of a layer that decide what a stored number means, in the words of a sentence.
_MEANING = {
    "dtype": "dtype", "nodata": "nodata", "scale": "scale", "offset": "offset", "extent": "extent",
    "valid_range": "valid range", "statistics_by": "groups of statistics",
}  # fmt: skip


def refuse_twice(corpora: Sequence[Corpus]) -> None:
    """Raise `Fatal` where two are the same corpus, or states of one."""
    for one, other in combinations(corpora, 2):
        if one.manifest.lineage & other.manifest.lineage:
            raise Fatal(
                f"the corpora in {one.folder} and {other.folder} are the same, or one has grown from the other; name "
                "each once in pretrain.also, and the one to train on not at all."
            )


def refuse_other_chips(corpora: Sequence[Corpus]) -> None:
    """Raise `Fatal` where pixels differ in size."""
    first, *others = corpora
    for other in others:
        if other.manifest.resolution_m != first.manifest.resolution_m:
            raise Fatal(
                f"the chips in {first.folder} have pixels of {first.manifest.resolution_m:g} m and those in "
                f"{other.folder} of {other.manifest.resolution_m:g} m; join corpora of one resolution."
            )


def refuse_other_layer(one: Modality, folder: Path, other: Modality, other_folder: Path) -> None:
    """Raise `Fatal` where a layer of the same name has other bands or numbers in another corpus."""
    mine, theirs = _meaning(one), _meaning(other)
    differing = next((what for what in mine if mine[what] != theirs[what]), None)
    if differing:
        raise Fatal(
            f"layer {one.name!r} has {differing} {theirs[differing]} in {other_folder} and {mine[differing]} in "
            f"{folder}; leave it out of the inputs and targets, or build one of the corpora anew."
        )


def with_classes_of(one: Modality, folder: Path, other: Modality, other_folder: Path) -> Modality:
    """The layer with the classes of the other behind its own; raises `Fatal` where a code means two things."""
    mine = {item.code: item.name for item in one.categories}
    for item in other.categories:
        known = mine.get(item.code, item.name)
        if known != item.name:
            raise Fatal(
                f"class {item.code} of layer {one.name!r} is {item.name!r} in {other_folder} and {known!r} in "
                f"{folder}; leave the layer out of the inputs and targets, or build one of the corpora anew."
            )
    return one.with_categories([*one.categories, *(item for item in other.categories if item.code not in mine)])


def with_common_ranges(one: Modality, folder: Path, other: Modality, other_folder: Path) -> Modality:
    """The layer with the ranges that its bands have in both: one of the corpora may have been laid out before.

    Raises `Fatal` where a band has one range here and another there.
    """
    bands = []
    for mine, theirs in zip(one.bands, other.bands, strict=True):
        if mine.valid_range and theirs.valid_range and mine.valid_range != theirs.valid_range:
            raise Fatal(
                f"band {mine.name!r} of layer {one.name!r} has the valid range {theirs.valid_range} in {other_folder} "
                f"and {mine.valid_range} in {folder}; leave the layer out of the inputs and targets, or build one of "
                "the corpora anew."
            )
        bands.append(mine if mine.valid_range == theirs.valid_range else replace(mine, valid_range=None))
    return replace(one, bands=tuple(bands))


def _meaning(modality: Modality) -> dict[str, Any]:
    plain = modality.specification()  # as it is written, where NaN equals NaN
    bands = ", ".join(f"{band.name} [{band.units}]" for band in modality.bands)
    return {"bands": bands, "kind": modality.kind} | {words: plain[name] for name, words in _MEANING.items()}


def crossing(corpora: Sequence[Corpus]) -> str:
    """A sentence where train chips of one corpus lie on val or test chips of another; empty where none do."""
    reach_m = max(item.manifest.size_px * item.manifest.resolution_m for item in corpora)
    for one, other in ((a, b) for a in corpora for b in corpora if a is not b):
        nearest_m = smallest_distance_m(_lonlat(one, "train"), _lonlat(other, "val", "test"))
        if nearest_m < reach_m:
            return (
                f"Some train chips in {one.folder} lie where {other.folder} has chips of val or test (centres "
                f"{nearest_m:.0f} m apart): scores on those may be too good."
            )
    return ""


def _lonlat(corpus: Corpus, *splits: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    column = corpus.manifest.column
    chosen = np.isin(column("split").astype(str), splits)
    return np.stack([column("lon")[chosen], column("lat")[chosen]], axis=1)
