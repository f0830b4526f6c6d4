"""Reducers against plain Python over the valid values of one pixel."""

from __future__ import annotations

import statistics
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.functions import reducers

PIXEL = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=15)
TYPES = st.sampled_from([np.uint8, np.int16, np.float32])


def smallest_mode(values):
    counts = Counter(values)
    return min(value for value, count in counts.items() if count == max(counts.values()))


PLAIN = {
    reducers.MODE: smallest_mode,
    reducers.MEDIAN: statistics.median,
    reducers.MEAN: statistics.fmean,
    reducers.MIN: min,
    reducers.MAX: max,
    reducers.SUM: sum,
    reducers.FIRST: lambda values: values[0],
    reducers.LAST: lambda values: values[-1],
    reducers.PRODUCT: np.prod,
    reducers.STD_DEV: statistics.pstdev,
    reducers.EVERY: all,
    reducers.SOME: any,
}


@pytest.mark.parametrize("reducer", PLAIN, ids=lambda reducer: reducer.outputs[0])
@settings(max_examples=60, deadline=None)
@given(pixel=PIXEL, dtype=TYPES)
def test_a_reducer_is_its_plain_definition(reducer, pixel, dtype):
    values = np.array([[[value]] for value, _ in pixel], dtype)
    valid = np.array([[[known]] for _, known in pixel])
    ((result, known),) = reducer.reduce(values, valid, np.ones(values.shape))
    held = [float(value) for value, is_valid in pixel if is_valid]
    assert bool(known[0, 0]) == bool(held)
    if held:
        assert float(result[0, 0]) == pytest.approx(float(PLAIN[reducer](held)))
        assert result.dtype == dtype or not reducer.keeps_type


@given(pixel=PIXEL)
def test_count_is_of_valid_values_and_never_masked(pixel):
    values = np.array([[value] for value, _ in pixel])
    valid = np.array([[known] for _, known in pixel])
    ((result, known),) = reducers.COUNT.reduce(values, valid, np.ones(values.shape))
    assert known.all()
    assert result[0] == sum(is_valid for _, is_valid in pixel)


@given(st.lists(st.tuples(st.integers(0, 100), st.floats(0.01, 1)), min_size=1, max_size=10))
def test_mean_is_weighted(pairs):
    values = np.array([[float(value)] for value, _ in pairs])
    weights = np.array([[weight] for _, weight in pairs])
    ((result, _),) = reducers.MEAN.reduce(values, np.ones(values.shape, bool), weights)
    assert result[0] == pytest.approx(sum(v * w for v, w in pairs) / sum(w for _, w in pairs))
