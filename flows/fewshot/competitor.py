"""Features that are compared, whatever they were made by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Competitor:
    """Features (rows, width) float32 of a `view` of an `encoder`, NaN in rows that it has none of.

    `whole` is the view of all that the encoder looks at, which is compared in full.
    """

    encoder: str
    view: str
    features: NDArray[np.float32]
    whole: bool

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which rows have features."""
        return np.asarray(np.isfinite(self.features).all(axis=1))


SIDE_BY_SIDE = "side by side"


def views_of(encoder: str, vectors: Mapping[str, NDArray[np.float32]]) -> Iterator[Competitor]:
    """The views of an encoder, the whole one first, of `vectors` (rows, width) by view, which end with their mean.

    Of several sensors the whole is their vectors one after another: a mean of them mixes what each of them tells.
    """
    *sensors, last = vectors
    if sensors:
        yield Competitor(encoder, SIDE_BY_SIDE, side_by_side(vectors), True)
    yield Competitor(encoder, last, vectors[last], not sensors)
    yield from (Competitor(encoder, name, vectors[name], False) for name in sensors)


def side_by_side(vectors: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """The vectors of the sensors that see any row, one after another; the last of `vectors` is their mean.

    Without a sensor that sees any, all of them, in which every number is NaN.
    """
    sensors = list(vectors.values())[:-1]
    return np.concatenate([item for item in sensors if np.isfinite(item).any()] or sensors, axis=1)
