"""The order of a merger: splits one after the other, and in each the rows of all corpora, shuffled like cards.

Rows of a split were shuffled when they were frozen. To riffle shuffled rows at random gives a random order of all, and
keeps those of each corpus in their order: they are read from first to last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.manifest import SPLITS, Manifest

Order = tuple[NDArray[np.int64], NDArray[np.int64]]


def interleaved(manifests: Sequence[Manifest], kept: Sequence[NDArray[np.bool_]], seed: int) -> Order:
    """Number of the manifest and its row, both (n,) int64, for each row of the merger, of the rows that are `kept`."""
    random, whiches, rows = np.random.default_rng(seed), [], []
    for split in SPLITS:
        runs = [
            (number, run)
            for number, (manifest, mask) in enumerate(zip(manifests, kept, strict=True))
            for run in _runs(manifest, mask, split)
        ]
        which, row = _riffled(runs, random)
        whiches.append(which)
        rows.append(row)
    return np.concatenate(whiches), np.concatenate(rows)


def _runs(manifest: Manifest, kept: NDArray[np.bool_], split: str) -> Iterator[NDArray[np.int64]]:
    """The rows of a split, ascending; of a manifest that grew those of each step, which was shuffled by itself."""
    chosen = manifest.rows_of(split)
    chosen = chosen[kept[chosen]]
    borders = np.searchsorted(chosen, [0, *(item.rows for item in manifest.ancestors), len(manifest)])
    return (chosen[start:stop] for start, stop in pairwise(borders.tolist()))


def _riffled(runs: Sequence[tuple[int, NDArray[np.int64]]], random: np.random.Generator) -> Order:
    """Every order that keeps the order within each run is as likely as any other."""
    cards = random.permutation(np.repeat(np.arange(len(runs)), [len(run) for _, run in runs]))
    which, rows = np.empty(len(cards), dtype=np.int64), np.empty(len(cards), dtype=np.int64)
    for card, (number, run) in enumerate(runs):
        which[cards == card], rows[cards == card] = number, run
    return which, rows
