"""Reducers: one or more numbers from the valid values of a pixel (or of a region)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sandbox.registry import algorithm

Stack = NDArray[Any]
Valid = NDArray[np.bool_]
Reduced = tuple[NDArray[Any], Valid]
_FLOAT = np.dtype(np.float64)


@dataclass(frozen=True)
class Reducer:
    """`reduce(values, valid, weights)` reduces axis 0 of arrays of the same shape; one result per output name.

    `keeps_type`: the results have the type of the input, otherwise `dtype`. `weighted`: the edge pixels of a region
    have the fraction that is inside as their weight. `inputs`, `repeated` and `gathers` ("values" or "rows") are for
    columns of Python values (`functions.columns`).
    """

    outputs: tuple[str, ...]
    reduce: Callable[[Stack, Valid, NDArray[np.float64]], list[Reduced]]
    keeps_type: bool = False
    dtype: np.dtype[Any] = _FLOAT
    weighted: bool = False
    inputs: int = 1
    repeated: int | None = None
    gathers: str = ""

    def dtype_for(self, source: np.dtype[Any]) -> np.dtype[Any]:
        return source if self.keeps_type else self.dtype


def _any(valid: Valid) -> Valid:
    return np.asarray(valid.any(axis=0))


def _extreme(pick: Callable[..., Any], sign: int) -> Callable[..., list[Reduced]]:
    def reduce(values: Stack, valid: Valid, weights: Any) -> list[Reduced]:
        if values.dtype.kind == "f":
            fill: Any = np.inf * sign
        else:
            limits = np.iinfo(values.dtype)
            fill = limits.max if sign > 0 else limits.min
        result = pick(np.where(valid, values, fill), axis=0)
        known = _any(valid)
        return [(np.where(known, result, 0).astype(values.dtype), known)]

    return reduce


def _sum(values: Stack, valid: Valid, weights: NDArray[np.float64]) -> list[Reduced]:
    total = np.where(valid, values.astype(np.float64) * weights, 0.0).sum(axis=0)
    return [(total, _any(valid))]


def _mean(values: Stack, valid: Valid, weights: NDArray[np.float64]) -> list[Reduced]:
    total = np.where(valid, values.astype(np.float64) * weights, 0.0).sum(axis=0)
    share = np.where(valid, weights, 0.0).sum(axis=0)
    known = share > 0
    return [(total / np.where(known, share, 1.0), known)]


def _variance(values: Stack, valid: Valid, weights: NDArray[np.float64]) -> list[Reduced]:
    (mean, known), *_ = _mean(values, valid, weights)
    (spread, _), *_ = _mean((values - mean) ** 2, valid, weights)
    return [(spread, known)]


def _std_dev(values: Stack, valid: Valid, weights: NDArray[np.float64]) -> list[Reduced]:
    (spread, known), *_ = _variance(values, valid, weights)
    return [(np.sqrt(spread), known)]


def _count(values: Stack, valid: Valid, weights: Any) -> list[Reduced]:
    count = valid.sum(axis=0)
    return [(count.astype(np.int64), np.ones(count.shape, dtype=np.bool_))]


def _median(values: Stack, valid: Valid, weights: Any) -> list[Reduced]:
    return [_quantile(values, valid, 0.5)]


def _quantile(values: Stack, valid: Valid, share: float) -> Reduced:
    ordered = np.sort(np.where(valid, values.astype(np.float64), np.inf), axis=0)
    count = valid.sum(axis=0)
    place = np.maximum(count - 1, 0) * share
    low, high = np.floor(place).astype(np.intp), np.ceil(place).astype(np.intp)
    below = np.take_along_axis(ordered, low[None], axis=0)[0]
    above = np.take_along_axis(ordered, high[None], axis=0)[0]
    known = count > 0
    below, above = np.where(known, below, 0.0), np.where(known, above, 0.0)
    return below + (above - below) * (place - low), known


def _mode(values: Stack, valid: Valid, weights: Any) -> list[Reduced]:
    """The most frequent value; of several, the smallest."""
    if values.dtype == np.uint8:
        return [_byte_mode(values, valid)]
    ordered, count = _sorted_valid_first(values, valid)
    best, best_run, run = ordered[0].copy(), np.ones(count.shape, np.intp), np.ones(count.shape, np.intp)
    for index in range(1, len(ordered)):
        run = np.where(ordered[index] == ordered[index - 1], run + 1, 1)
        better = (run > best_run) & (index < count)
        best, best_run = np.where(better, ordered[index], best), np.where(better, run, best_run)
    known = count > 0
    return [(np.where(known, best, 0).astype(values.dtype), known)]


def _byte_mode(values: Stack, valid: Valid) -> Reduced:
    # Class labels: to count the few that occur is faster than to sort the stack, and small counters are faster.
    counter = np.uint8 if len(values) < 256 else np.uint32
    best: Stack = np.zeros(values.shape[1:], np.uint8)
    most = np.zeros(values.shape[1:], counter)
    for label in _labels_in(values):
        count = np.add.reduce(((values == label) & valid).view(np.uint8), axis=0, dtype=counter)
        best[count > most] = label
        np.maximum(most, count, out=most)
    return best, most > 0


def _labels_in(values: Stack) -> NDArray[Any]:
    """The values that may occur, in ascending order."""
    largest = int(values.max(initial=0))
    # For a few dozen possible values, to find those that occur costs as much as to count them all.
    return np.arange(largest + 1) if largest < 32 else np.flatnonzero(np.bincount(values.ravel()))


def _sorted_valid_first(values: Stack, valid: Valid) -> tuple[Stack, NDArray[Any]]:
    count = valid.sum(axis=0)
    if valid.all():
        return np.sort(values, axis=0), count
    return np.sort(np.where(valid, values.astype(np.float64), np.inf), axis=0), count


def _first(values: Stack, valid: Valid, weights: Any) -> list[Reduced]:
    if len(values) == 1:
        return [(np.where(valid[0], values[0], 0).astype(values.dtype, copy=False), valid[0])]
    place = np.argmax(valid, axis=0)
    result = np.take_along_axis(values, place[None], axis=0)[0]
    known = _any(valid)
    return [(np.where(known, result, 0).astype(values.dtype), known)]


def _last(values: Stack, valid: Valid, weights: Any) -> list[Reduced]:
    return _first(values[::-1], valid[::-1], weights)


def _product(values: Stack, valid: Valid, weights: Any) -> list[Reduced]:
    return [(np.where(valid, values.astype(np.float64), 1.0).prod(axis=0), _any(valid))]


def _every(values: Stack, valid: Valid, weights: Any) -> list[Reduced]:
    return [(np.asarray(np.where(valid, values != 0, True).all(axis=0), np.uint8), _any(valid))]


def _some(values: Stack, valid: Valid, weights: Any) -> list[Reduced]:
    return [(np.asarray(np.where(valid, values != 0, False).any(axis=0), np.uint8), _any(valid))]


_MIN, _MAX = _extreme(np.min, 1), _extreme(np.max, -1)
_BYTE = np.dtype(np.uint8)
MIN = Reducer(("min",), _MIN, keeps_type=True)
MAX = Reducer(("max",), _MAX, keeps_type=True)
SUM = Reducer(("sum",), _sum, weighted=True)
MEAN = Reducer(("mean",), _mean, weighted=True)
COUNT = Reducer(("count",), _count, dtype=np.dtype(np.int32))
MEDIAN = Reducer(("median",), _median)
MODE = Reducer(("mode",), _mode, keeps_type=True)
FIRST = Reducer(("first",), _first, keeps_type=True)
LAST = Reducer(("last",), _last, keeps_type=True)
PRODUCT = Reducer(("product",), _product)
STD_DEV = Reducer(("stdDev",), _std_dev, weighted=True)
VARIANCE = Reducer(("variance",), _variance, weighted=True)
EVERY = Reducer(("all",), _every, dtype=_BYTE)
SOME = Reducer(("any",), _some, dtype=_BYTE)


def _register(name: str, reducer: Reducer) -> None:
    @algorithm(f"Reducer.{name}")
    def make(*options: Any) -> Reducer:
        return reducer


for _name, _reducer in {
    "min": MIN, "max": MAX, "sum": SUM, "mean": MEAN, "count": COUNT, "median": MEDIAN, "mode": MODE,
    "first": FIRST, "firstNonNull": FIRST, "last": LAST, "lastNonNull": LAST, "product": PRODUCT,
    "stdDev": STD_DEV, "variance": VARIANCE, "allNonZero": EVERY, "anyNonZero": SOME,
}.items():  # fmt: skip
    _register(_name, _reducer)


def _together(first: Reducer, second: Reducer) -> Reducer:
    def reduce(values: Stack, valid: Valid, weights: NDArray[np.float64]) -> list[Reduced]:
        return first.reduce(values, valid, weights) + second.reduce(values, valid, weights)

    return Reducer(first.outputs + second.outputs, reduce, weighted=first.weighted or second.weighted)


@algorithm("Reducer.minMax")
def min_max() -> Reducer:
    return replace(_together(MIN, MAX), keeps_type=True)


@algorithm("Reducer.combine")
def combine(first: Reducer, second: Reducer, prefix: str, shared_inputs: bool) -> Reducer:
    named = replace(second, outputs=tuple(prefix + output for output in second.outputs))
    return _together(first, named)


@algorithm("Reducer.percentile")
def percentile(percentiles: list[float], names: list[str] | None, *options: Any) -> Reducer:
    outputs = tuple(names or [f"p{int(p) if int(p) == p else p}" for p in percentiles])

    def reduce(values: Stack, valid: Valid, weights: Any) -> list[Reduced]:
        return [_quantile(values, valid, float(p) / 100) for p in percentiles]

    return Reducer(outputs, reduce)


@algorithm("Reducer.unweighted")
def unweighted(reducer: Reducer) -> Reducer:
    def reduce(values: Stack, valid: Valid, weights: NDArray[np.float64]) -> list[Reduced]:
        return reducer.reduce(values, valid, np.ones_like(weights))

    return replace(reducer, reduce=reduce, weighted=False)


@algorithm("Reducer.setOutputs")
def set_outputs(reducer: Reducer, outputs: list[str]) -> Reducer:
    return replace(reducer, outputs=tuple(outputs))


@algorithm("Reducer.getOutputs")
def get_outputs(reducer: Reducer) -> list[str]:
    return list(reducer.outputs)
