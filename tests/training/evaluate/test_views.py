"""Views of chips by a sensor, in whole and in part, and how often the nearest one is right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from tests.training.corpora import CONFIG
from tests.training.sensor_corpus import CONTRASTIVE, SENSORS, make_sensors
from training.evaluate.retrieval import Recall, recall_at_1
from training.evaluate.views import Views, together, views_of
from training.pretrain.train import pretrain
from training.weights.pretrained import Pretrained
from training.weights.weights import load_encoder


@pytest.fixture(scope="module")
def sensors(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_sensors(tmp_path_factory.mktemp("sensors"), 60)


@pytest.fixture(scope="module")
def towers(sensors: Corpus, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pretrained]:
    """Trained for a few seconds."""
    folder = tmp_path_factory.mktemp("run")
    config = replace(CONTRASTIVE, steps=60, batch_size=24, micro_batch=0, log_every=60, checkpoint_every=60, blr=0.03)
    pretrain(sensors.folder, config, folder)
    return {name: load_encoder(folder / f"encoder-{name}.safetensors") for name in SENSORS}


def scored(one: Views, other: Views) -> Recall:
    both = one.present & other.present
    return recall_at_1(one.vectors[both], other.vectors[both])


@pytest.mark.slow
def test_matching_pairs_become_nearest_and_stay_so_without_a_channel(
    sensors: Corpus, towers: dict[str, Pretrained]
) -> None:
    """Made-up fields, chips that were trained on: far above chance, with all channels and without any one of them."""
    rows = sensors.manifest.rows_of("train")
    views = {name: views_of(tower, sensors, rows) for name, tower in towers.items()}
    for one, other in (("light", "ground"), ("ground", "light"), ("light", "echo"), ("echo", "ground")):
        result = scored(views[one], views[other])
        assert result.interval[0] > 3 * result.chance, (one, other, result.score, result.chance)
    for name, tower in towers.items():
        names = tower.normalisation.band_names[name]
        for band in names if len(names) > 1 else ():
            fewer = views_of(tower, sensors, rows, without=(band,))
            result = scored(fewer, views["ground" if name != "ground" else "light"])
            assert result.interval[0] > result.chance, (name, band, result.score)


@pytest.mark.slow
def test_what_a_sensor_did_not_see_is_said(sensors: Corpus, towers: dict[str, Pretrained]) -> None:
    rows = np.arange(len(sensors.manifest))
    echo = views_of(towers["echo"], sensors, rows)
    assert np.array_equal(echo.present, rows % 4 != 1) and echo.vectors.shape == (60, 16)
    np.testing.assert_allclose(np.linalg.norm(echo.vectors, axis=1), 1, rtol=1e-5)
    assert not views_of(towers["echo"], sensors, rows, without=("up", "down")).present.any()
    both = together([echo, views_of(towers["light"], sensors, rows)])
    assert both.present.all()
    with pytest.raises(Fatal, match="unknown band 'pu'; did you mean 'up'"):
        views_of(towers["echo"], sensors, rows, without=("pu",))


@pytest.mark.slow
def test_an_encoder_of_another_method_gives_no_views(sensors: Corpus, tmp_path: Path) -> None:
    pretrain(sensors.folder, replace(CONFIG, steps=1), tmp_path)
    with pytest.raises(Fatal, match="views need the encoder of one sensor"):
        views_of(load_encoder(tmp_path), sensors, np.arange(4))


def test_recall_counts_the_nearest_and_no_tie() -> None:
    views = np.eye(4, dtype=np.float32)
    assert recall_at_1(views, views).found.all()
    assert recall_at_1(views, views[[1, 0, 2, 3]]).found.tolist() == [False, False, True, True]
    assert not recall_at_1(np.ones((3, 2), np.float32), np.ones((3, 2), np.float32)).found.any()
    with pytest.raises(ValueError, match="not of the same chips"):
        recall_at_1(views, views[:2])


def test_the_interval_is_wilsons() -> None:
    """Values from Newcombe 1998, table I: 81 of 263, and 0 of 20."""
    some = Recall(np.arange(263) < 81, 263)
    assert some.interval == pytest.approx((0.2553, 0.3662), abs=1e-4) and some.chance == 1 / 263
    assert Recall(np.zeros(20, np.bool_), 20).interval == pytest.approx((0, 0.1611), abs=1e-4)


def test_views_are_averaged_over_the_sensors_that_are_there() -> None:
    one = Views(np.array([[1, 0], [1, 0], [1, 0]], np.float32), np.array([True, True, False]))
    other = Views(np.array([[0, 1], [0, 1], [0, 1]], np.float32), np.array([True, False, False]))
    result = together([one, other])
    np.testing.assert_allclose(result.vectors, [[0.5**0.5, 0.5**0.5], [1, 0], [0, 0]], rtol=1e-6)
    assert result.present.tolist() == [True, True, False]
