"""Operations on a band pixel by pixel; a chain of them on bytes or short integers is computed as one table.

A request repeats the same few operations on many bands, and the next request does so again: a table of what becomes of
each value costs one look-up per pixel in place of several passes over them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sandbox.functions.images import ImageBand, saturated
from sandbox.functions.scope import Scope
from sandbox.raster import masks
from sandbox.raster.grids import PixelGrid
from sandbox.raster.resample import Pixels

Array = NDArray[Any]
_FEW = 16  # a table with more entries for each pixel than this costs more than the pixels
_UNSIGNED: dict[int, Any] = {1: np.uint8, 2: np.uint16}


@dataclass(frozen=True, eq=False)
class Mapped:
    """`operate` applied to values, and the results cast to `dtype`; results that are not finite are masked."""

    operate: Callable[[Array], Any]
    dtype: np.dtype[Any]

    def __call__(self, values: Array, valid: NDArray[np.bool_]) -> Pixels:
        with np.errstate(all="ignore"):
            result = np.asarray(self.operate(values))
        values = result.view(np.uint8) if result.dtype.kind == "b" else result
        return saturated(values, self.dtype), masks.finite(result, valid)


@dataclass(frozen=True)
class Number:
    """A number of a type, equal to another only if it is the same to the last bit."""

    kind: str
    raw: bytes

    @property
    def value(self) -> Array:
        """An array of no dimension."""
        return np.asarray(np.frombuffer(self.raw, self.kind)[0])


def number_of(value: Array) -> Number:
    """The number of an array of no dimension."""
    return Number(value.dtype.str, value.tobytes())


@dataclass(frozen=True, eq=False)
class Filled:
    """Masked pixels replaced by a number; all are valid then."""

    number: Number
    dtype: np.dtype[Any]

    def __call__(self, values: Array, valid: NDArray[np.bool_]) -> Pixels:
        if not masks.is_everywhere(valid):
            fill = saturated(self.number.value, self.dtype)
            return np.where(valid, saturated(values, self.dtype), fill), masks.everywhere(valid.shape)
        return saturated(values, self.dtype), valid


Step = Mapped | Filled
# A step that was asked for before is the same object, so that chains of them are compared quickly.
mapped, filled = lru_cache(maxsize=512)(Mapped), lru_cache(maxsize=512)(Filled)


@dataclass(frozen=True, eq=False)
class Pointwise:
    """The compute function of a band: the last of `steps` on the pixels of `band`, or all of them on those of `root`.

    Steps come from `mapped` or `filled`. Their `operate` must be a function of a module, or equal to others that do the
    same, and defined for every value.
    """

    band: ImageBand
    root: ImageBand
    steps: tuple[Step, ...]

    def __call__(self, grid: PixelGrid, scope: Scope) -> Pixels:
        kind = self.root.dtype
        if kind.kind in "iu" and 1 << 8 * kind.itemsize <= _FEW * min(grid.width * grid.height, 4096):
            return _table(kind, self.steps).of(*self.root.pixels(grid, scope))
        return self.steps[-1](*self.band.pixels(grid, scope))


def stepped(band: ImageBand, step: Step) -> ImageBand:
    """A band with one more step."""
    source = band
    while isinstance(owner := getattr(source.compute, "__self__", None), ImageBand):  # under another name
        source = owner
    known = source.compute
    root, steps = (known.root, known.steps) if isinstance(known, Pointwise) else (source, ())
    compute = Pointwise(band, root, (*steps, step))
    return ImageBand(band.name, step.dtype, band.projection, compute, band.footprint, band.window, band.levels)


@dataclass(frozen=True)
class Table:
    """What becomes of each value where it is valid, then where it is masked: (2, entries) values and mask."""

    values: Array
    valid: NDArray[np.bool_]

    @cached_property
    def keeps_valid(self) -> bool:
        """Whether no valid pixel gets masked."""
        return bool(self.valid[0].all())

    def of(self, values: Array, valid: NDArray[np.bool_]) -> Pixels:
        """The pixels that these become."""
        index: Array = values.view(_UNSIGNED[values.itemsize])
        if masks.is_everywhere(valid):
            known = valid if self.keeps_valid else self.valid[0].take(index)
            return self.values[0].take(index), known
        index = index + ~valid * np.intp(self.values.shape[1])
        return self.values.take(index), masks.shared(self.valid.take(index))


@lru_cache(maxsize=32)
def _table(kind: np.dtype[Any], steps: tuple[Step, ...]) -> Table:
    count = 1 << 8 * kind.itemsize
    values = np.tile(np.arange(count, dtype=_UNSIGNED[kind.itemsize]).view(kind), (2, 1))
    valid = np.broadcast_to([[True], [False]], values.shape)
    for step in steps:
        values, valid = step(values, valid)
    return Table(values, valid)
