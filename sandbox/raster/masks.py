"""Masks of pixels, in which "everywhere" is one shared array: what is valid everywhere needs no memory and no test."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from sandbox.raster.stored import Valid, Values


@lru_cache(maxsize=1024)
def everywhere(shape: tuple[int, ...]) -> Valid:
    """The mask (shape) that is true at each pixel; read-only, and the same object for the same shape."""
    return np.broadcast_to(np.True_, shape)


def is_everywhere(valid: Valid) -> bool:
    """Whether this is the shared mask; false for another array that is true at each pixel."""
    return valid is everywhere(valid.shape)


def shared(valid: Valid) -> Valid:
    """The same mask; the shared one where it is true at each pixel."""
    whole = everywhere(valid.shape)
    return whole if valid is whole or valid.all() else valid


def both(left: Valid, right: Valid | None) -> Valid:
    """Where two masks of one shape are true (None: everywhere)."""
    if right is None or is_everywhere(right):
        return left
    return right if is_everywhere(left) else left & right


def finite(values: Values, valid: Valid) -> Valid:
    """A mask without the pixels whose values are not finite."""
    if values.dtype.kind != "f":
        return valid
    known = np.isfinite(values)
    return valid if known.all() else both(valid, known)
