"""From physical values to stored ones: by the layer's rule, or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.encoding import stored_values, unstorable
from pipeline.errors import Fatal
from pipeline.modality import Band, Category, Modality

CLASSES = (Category(1, "one"), Category(2, "two"))
GROUND = Modality("x", "X", (Band("a"),), "uint8", 255, categories=CLASSES)
HEIGHT = Modality("x", "X", (Band("a"),), "float32", float("nan"))
LIGHT = Modality("x", "X", (Band("a"),), "uint16", 0, scale=0.01)


def test_numbers_are_rounded_and_saturated_and_never_wrap() -> None:
    physical = np.array([70000.7, -5.0, 0.014, np.nan, np.inf])
    assert stored_values(LIGHT, physical).tolist() == [65535, 1, 1, 0, 0]


@pytest.mark.parametrize("value", [1.5, 257.0, -255.0, 1e9])
def test_a_fraction_or_an_overflow_is_no_class(value):
    reason = unstorable(GROUND, np.array([1.0, value, np.nan]))
    assert reason == f"values {value:g} are none of its classes"
    with pytest.raises(Fatal, match="'x': values .* correct its source"):
        stored_values(GROUND, np.array([value]))


def test_a_number_beyond_float32_does_not_become_nodata():
    assert unstorable(HEIGHT, np.array([1e300])) == "values 1e+300 are more than float32 holds"
    assert unstorable(HEIGHT, np.array([3e38, -np.inf, np.nan])) is None
