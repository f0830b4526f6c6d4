"""Corpus, v001, corpus: the same chips, and the same values wherever v001 can hold them."""

from __future__ import annotations

import numpy as np
import pytest

from exporters.formats.choice import Choice
from flows import exchange
from pipeline.corpus import Corpus
from pipeline.progress import Silent
from tests.exporters.formats.mmearth_v001.corpora import mmearth_corpus

# int16 and int8 of v001 have whole numbers alone, and no value for nodata.
LOSSY = {"aster", "canopy_height_eth"}
CHIPS = 10


def out_and_in(first, tmp_path, *options):
    exchange.convert(first.folder, tmp_path / "out", "mmearth-v001", Choice(), options, False, Silent())
    exchange.import_corpus(tmp_path / "out", tmp_path / "second", None, [], ["corpus.shard_rows=3"], Silent())
    return Corpus.open(tmp_path / "second")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trip")
    first = mmearth_corpus(folder / "first", CHIPS)
    return first, out_and_in(first, folder)


def test_the_chips_are_the_same(both):
    first, second = both
    assert second.manifest == first.manifest
    assert second.manifest[3] == first.manifest[3]


def test_values_and_masks_are_the_same(both):
    first, second = both
    assert set(first.modalities) < set(second.modalities)  # what v001 makes of the manifest comes beside
    rows = slice(0, CHIPS)
    for name in sorted(set(first.modalities) - LOSSY):
        assert second.modality(name) == first.modality(name)
        assert np.array_equal(second.read(name, rows), first.read(name, rows), equal_nan=name == "era5"), name


def test_what_v001_cannot_hold_is_as_near_as_it_can(both):
    first, second = both
    for name in LOSSY:
        layer, theirs = first.modality(name), second.read(name, slice(0, CHIPS))
        ours = first.read(name, slice(0, CHIPS))
        valid = layer.valid(ours)
        assert np.abs(theirs[valid].astype(float) - ours[valid].astype(float)).max() <= 0.5
        assert set(np.unique(theirs[~valid])) <= {0, layer.nodata}
        assert "whole numbers" in second.modality(name).title


def test_the_middle_of_64_px_keeps_its_place(tmp_path):
    first = mmearth_corpus(tmp_path / "first", 2, 80)
    second = out_and_in(first, tmp_path, "variant=64")
    (left, _, right, _), (whole_left, *_) = second.manifest[1].grid.bounds_xy, first.manifest[1].grid.bounds_xy
    assert left - whole_left == 80 and right - left == 640
    middle = first.read("esa_worldcover", slice(0, 2))[:, :, 8:72, 8:72]
    assert np.array_equal(second.read("esa_worldcover", slice(0, 2)), middle)
