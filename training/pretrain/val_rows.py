"""The val chips of a run, and a few of many rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.data.left_out import rows_left_out
from training.data.order import shards_of
from training.pretrain.resolved_run import ResolvedRun


def val_rows(resolved: ResolvedRun) -> NDArray[np.int64]:
    """The manifest rows of val chips that are finished for all layers and not left out, ascending."""
    corpus = resolved.corpus
    unfinished = {shard.index for shard in corpus.missing([layer.name for layer in resolved.layers])}
    val = corpus.manifest.rows_of("val")
    finished = val[~np.isin(shards_of(corpus, val), list(unfinished))]
    return np.setdiff1d(finished, rows_left_out(corpus, resolved.config.leave_out))


def spread(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most `most` of `rows`, evenly spread over them: neighbours are much alike.

    >>> spread(np.arange(10), 4).tolist()
    [0, 3, 6, 9]
    """
    places = np.linspace(0, len(rows) - 1, min(most, len(rows)))
    return rows[places.round().astype(np.int64)]
