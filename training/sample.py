"""The few chips that are drawn throughout a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.batch import Batch


@dataclass(frozen=True)
class Sample:
    """The chips that are drawn throughout a run, with their `names`, normalised and as stored.

    `batch` is normalised. By layer: `stored` (rows, chosen bands[, y, x]) in the stored dtype, and `groups` (rows,),
    the groups of statistics.
    """

    names: tuple[str, ...]
    batch: Batch
    stored: dict[str, NDArray[Any]]
    groups: dict[str, NDArray[np.str_]]
