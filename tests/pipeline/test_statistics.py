"""Merged statistics equal one pass of NumPy, however the values were cut."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import statistics
from pipeline.modality import Modality
from tests.pipeline.chips import CLIMATE, COVER, MODALITIES, OPTICAL, make_block


@given(st.lists(st.integers(0, 25), min_size=1, max_size=6), st.sampled_from(MODALITIES), st.integers(0, 99))
def test_merged_equals_one_pass(cuts: list[int], modality: Modality, seed: int) -> None:
    block = make_block(modality, sum(cuts), 4, seed)
    groups: list[str | None] = [("a", "b", None)[(seed + row) % 3] for row in range(len(block))]
    edges = np.cumsum([0, *cuts])
    parts = [
        statistics.summarise(modality, block[start:stop], groups[start:stop])
        for start, stop in zip(edges[:-1], edges[1:], strict=True)
    ]
    through_json = [json.loads(json.dumps(part)) for part in parts]
    merged = statistics.merge(through_json)
    assert set(merged) == {group for group in groups if group}
    for group, bands in merged.items():
        rows = np.array([item == group for item in groups])
        for band, result in enumerate(bands):
            check_one_pass(modality, block[rows, band], result)


def check_one_pass(modality: Modality, stored: np.ndarray, found: statistics.BandStatistics) -> None:
    nothing = np.isnan(stored) if np.isnan(modality.nodata) else stored == modality.nodata
    values = stored[~nothing].astype(np.float64)
    assert (found.count, found.nodata) == (values.size, int(nothing.sum()))
    if values.size:
        np.testing.assert_allclose([found.mean, found.std], [values.mean(), values.std()], rtol=1e-10, atol=1e-9)
        assert (found.minimum, found.maximum) == (values.min(), values.max())
    if modality.categories:
        assert found.histogram == tuple(int((values == code).sum()) for code in modality.codes)
    elif modality.valid_range:
        expected, _ = np.histogram(values, bins=statistics.HISTOGRAM_BINS, range=modality.valid_range)
        assert sum(found.histogram) == values.size
        assert np.abs(np.cumsum(found.histogram) - np.cumsum(expected)).max() <= np.bincount(values.astype(int)).max()


@pytest.mark.parametrize("modality", [OPTICAL, COVER, CLIMATE], ids=lambda modality: modality.name)
def test_a_band_without_data_is_counted_not_invented(modality: Modality) -> None:
    nothing = np.full((3, len(modality.bands)), modality.fill, dtype=modality.dtype)
    (result, *_) = statistics.merge([statistics.summarise(modality, nothing, ["x"] * 3)])["x"]
    assert (result.count, result.nodata, result.minimum) == (0, 3, None)
    data = json.loads(json.dumps(statistics.to_dict({"x": [result]}), allow_nan=False))
    assert statistics.from_dict(data) == {"x": [result]}
