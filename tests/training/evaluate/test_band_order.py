"""A doubt about the order of bands is raised where real images are given in another one, and only there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import eurosat
from training.evaluate.band_order import BandMoments, misfit
from training.weights.published import inputs_of

L1C = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")


def published(group: str) -> BandMoments:
    layer = inputs_of(12).layers[0]
    return BandMoments(layer.modality.band_names, layer.groups[group].mean, layer.groups[group].std)


@pytest.mark.parametrize("group", ["l1c", "l2a"])
def test_eurosat_with_b8a_where_it_usually_is(shared_data: Path, group: str) -> None:
    images = eurosat.multispectral(shared_data / "eurosat").images
    mean, std = images.mean(axis=(0, 2, 3)), images.std(axis=(0, 2, 3))
    found = misfit(BandMoments(L1C, mean, std), published(group))
    assert found is not None and found.gain > 0.3
    said = dict(found.bands)
    assert said["B9"] == "B10" and said["B12"] in ("B8A", "B9"), "B8A and B9 are nearly alike at level 2A"
    assert "B9 as B10" in found.sentence
    assert misfit(BandMoments(eurosat.BANDS, mean, std), published(group)) is None


def test_units_and_other_bands_do_not_count() -> None:
    known = published("l1c")
    more = BandMoments((*known.names, "TCI"), np.append(known.mean, 80.0) / 1e4, np.append(known.std, 3.0) / 5e3)
    assert misfit(more, known) is None
    order = [*range(1, 12), 0]  # the first band last, under the usual names
    wrong = BandMoments(known.names, known.mean[order] * 3, known.std[order] * 3)
    assert misfit(wrong, known) is not None
    assert misfit(BandMoments(("VV", "VH"), np.ones(2), np.ones(2)), known) is None
