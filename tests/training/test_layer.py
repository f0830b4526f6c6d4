"""What the net sees of stored values, against NumPy on the store's physical truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from tests.training.corpora import CULTURE, ECHO, GROUND, LIGHT, NOTHING, make_corpus
from training.layer import IGNORED, groups_of, layer_of


def test_normalised_by_group_as_numpy_does(corpus: Corpus) -> None:
    layer = layer_of(corpus, "light", {})
    stored = corpus.read("light", slice(0, 20))
    values, valid = layer.values(stored, groups_of(corpus, layer))
    level, train = corpus.manifest.column("level"), corpus.manifest.column("split") == "train"
    assert [LIGHT.band_names[band] for band in layer.bands] == ["red", "green"]
    for group in ("l1c", "l2a"):
        for index, band in enumerate(layer.bands):
            known = np.where(stored[:, band] == 0, np.nan, stored[:, band].astype(float))
            reference = known[(level == group) & train]
            expected = (known[level == group] - np.nanmean(reference)) / np.nanstd(reference)
            np.testing.assert_allclose(values[level == group, index], np.nan_to_num(expected), atol=1e-4)
            assert np.array_equal(valid[level == group, index], ~np.isnan(expected))
    assert values.dtype == np.float32


def test_named_bands_without_data_in_a_group_are_nodata_there(corpus: Corpus) -> None:
    layer = layer_of(corpus, "light", {"light": ("haze", "red")})
    groups = groups_of(corpus, layer)
    values, valid = layer.values(corpus.read("light", slice(0, 20)), groups)
    poor = np.array(groups) == "l2a"
    assert not valid[poor, 0].any() and (values[poor, 0] == 0).all()
    assert valid[~poor, 0].any() and valid[poor, 1].any()


def test_a_group_never_seen_in_training_is_nodata(corpus: Corpus) -> None:
    layer = layer_of(corpus, "light", {})
    _, valid = layer.values(corpus.read("light", slice(0, 1)), ["l3"])
    assert not valid.any()


def test_nodata_of_a_float_layer_becomes_the_mean(corpus: Corpus) -> None:
    layer = layer_of(corpus, "echo", {})
    stored = corpus.read("echo", slice(0, 4))
    values, valid = layer.values(stored, ["all"] * 4)
    assert np.array_equal(valid, ~np.isnan(stored)) and not valid.all()
    assert np.isfinite(values).all() and (values[~valid] == 0).all()


def test_codes_become_positions_in_the_class_table(corpus: Corpus) -> None:
    layer = layer_of(corpus, "ground", {})
    codes = np.array([[[[30, 10], [20, 255]]], [[[0, 31], [254, 10]]]], dtype=np.uint8)
    indices, valid = layer.values(codes, ["all"] * 2)
    assert indices.tolist() == [[[[0, 1], [2, IGNORED]]], [[[IGNORED, IGNORED], [IGNORED, 1]]]]
    assert np.array_equal(valid, indices >= 0)
    assert indices.dtype == np.int64 and layer.channels == len(GROUND.categories)


def test_large_and_negative_codes(corpus: Corpus) -> None:
    codes = np.array([[7], [100_000], [-5], [-1], [8], [2**31 - 1], [-(2**31)]], dtype=CULTURE.dtype)
    indices, _ = layer_of(corpus, "culture", {}).values(codes, ["all"] * 7)
    assert indices[:, 0].tolist() == [0, 1, 2, IGNORED, IGNORED, IGNORED, IGNORED]


def test_a_layer_without_data_keeps_its_bands(corpus: Corpus) -> None:
    layer = layer_of(corpus, NOTHING.name, {})
    _, valid = layer.values(corpus.read(NOTHING.name, slice(0, 3)), ["all"] * 3)
    assert layer.channels == 2 and not valid.any()


def test_refuses_what_it_does_not_know(corpus: Corpus) -> None:
    with pytest.raises(Fatal, match="did you mean 'light'"):
        layer_of(corpus, "lihgt", {})
    with pytest.raises(Fatal, match="unknown band of echo 'upp'; did you mean 'up'"):
        layer_of(corpus, ECHO.name, {"echo": ("upp",)})
    with pytest.raises(Fatal, match="name at least one band"):
        layer_of(corpus, ECHO.name, {"echo": ()})


def test_a_band_with_one_value_everywhere_is_known(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, 10, (LIGHT, ECHO))
    assert layer_of(corpus, "echo", {}).constant_bands == ()
    for shard in corpus.shards:
        block = corpus.read("echo", slice(shard.start, shard.stop))
        block[:, 1] = np.where(np.isnan(block[:, 1]), np.nan, -7)
        corpus.write(shard, "echo", block, {})
    assert layer_of(corpus, "echo", {}).constant_bands == ("down",)
