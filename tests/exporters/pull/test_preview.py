"""The preview of a layer tells what its values would become."""

from __future__ import annotations

import ee
import pytest

from exporters.expressions import static
from exporters.pull.preview import preview_layer
from pipeline.modality import Band, Modality
from tests.exporters.chips import chip
from tests.exporters.tiny_earth import day


@pytest.mark.parametrize(("value", "told"), [(70000.7, True), (-5.0, False), (900.0, False)])
def test_numbers_beyond_the_dtype_are_told(engine, value, told):
    source = static(lambda: ee.Image.constant(value).toDouble())
    layer = Modality("x", "X", (Band("a", "m"),), "uint16", 0, source=source)
    said = "\n".join(preview_layer(engine, layer, [chip(day(2019, 6, 2))]).said)
    assert ("144 values at the limit of what uint16 holds: check scale and dtype" in said) == told
