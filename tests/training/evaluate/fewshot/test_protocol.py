"""Draws are shared and repeatable, tests lie in blocks, and what is the target itself beats what is not."""

from __future__ import annotations

import numpy as np
import pytest

from tests.extras import NO_SKLEARN

pytest.importorskip("threadpoolctl", reason=NO_SKLEARN)
pytest.importorskip("sklearn", reason=NO_SKLEARN)

from pipeline.errors import Fatal
from training.evaluate.fewshot.comparison import Comparison, Seen, compared, curve
from training.evaluate.fewshot.draws import draws_of
from training.evaluate.fewshot.places import Places, blocks_of
from training.evaluate.fewshot.task import Task
from training.evaluate.fewshot.transfer import Drawn, Regions, transfers
from training.evaluate.fewshot.trials import trials_of

ROWS = 400
RANDOM = np.random.default_rng(0)
LONLAT = RANDOM.uniform(-40, 40, (ROWS, 2))
NUMBERS = Task("height", np.where(np.arange(ROWS) % 10 == 0, np.nan, RANDOM.uniform(0, 1, ROWS)))
CLASSES = Task("kind", np.where(np.isnan(NUMBERS.values), -1, (NUMBERS.values > 0.5).astype(np.int64)), ("low", "high"))
PLACES = Places(np.arange(250), np.arange(250, ROWS), blocks_of(LONLAT[250:])[0])
NOISE = RANDOM.normal(size=(ROWS, 6))
ITSELF = np.column_stack([np.nan_to_num(NUMBERS.values), NOISE[:, :2]])


@pytest.mark.parametrize("task", [NUMBERS, CLASSES])
def test_draws_follow_from_their_names_alone(task: Task) -> None:
    draws = draws_of(task, PLACES.train, draws=3, seed=5)
    assert [item.shots for item in draws] == [10] * 3 + [20] * 3 + [50] * 3 + [100] * 3 + [200] * 3 + [225]
    fewer = draws_of(task, PLACES.train, shots=(50,), draws=2, seed=5)
    for item in fewer[:2]:
        same = next(other for other in draws if (other.shots, other.number) == (50, item.number))
        np.testing.assert_array_equal(item.rows, same.rows)
    assert not np.array_equal(fewer[0].rows, fewer[1].rows)
    assert not np.array_equal(fewer[0].rows, draws_of(task, PLACES.train, (50,), 2, seed=6)[0].rows)
    for item in draws:
        assert task.known[item.rows].all()
        assert len(set(item.rows.tolist())) == item.shots
        assert not set(item.rows.tolist()) & set(PLACES.test.tolist())


def test_each_class_has_a_label_in_each_draw() -> None:
    rare = np.zeros(ROWS, np.int64)
    rare[[3, 90]] = 1, 2
    task = Task("rare", rare, ("a", "b", "c"))
    assert all(len(np.unique(rare[item.rows])) == 3 for item in draws_of(task, PLACES.train, draws=8))


def test_labels_that_do_not_suffice() -> None:
    task = Task("kind", np.arange(ROWS) % 12, tuple("abcdefghijkl"))
    with pytest.raises(Fatal, match="10 labels are fewer than the 12 classes of kind; draw more"):
        draws_of(task, PLACES.train, shots=(10,))
    assert draws_of(task, PLACES.train)[0].shots == 20
    with pytest.raises(Fatal, match="no train chip has a label of height"):
        draws_of(NUMBERS, np.array([0, 10]))
    with pytest.raises(Fatal, match="of one class"):
        draws_of(Task("kind", np.zeros(ROWS, np.int64), ("a", "b")), PLACES.train)


def test_blocks_are_places_near_each_other() -> None:
    blocks, cell_deg = blocks_of(LONLAT, wanted=30)
    assert blocks.max() + 1 >= 30
    for block in range(blocks.max() + 1):
        assert np.ptp(LONLAT[blocks == block, 1]) <= cell_deg
    near, small_deg = blocks_of(LONLAT / 1000, wanted=30)
    assert near.max() + 1 >= 30
    assert small_deg < 0.1


@pytest.fixture(scope="module", params=[NUMBERS, CLASSES], ids=["numbers", "classes"])
def comparison(request: pytest.FixtureRequest) -> Comparison:
    task = request.param
    places = PLACES.among(task.known, task.known)
    draws = draws_of(task, places.train, shots=(10, 50), draws=2)
    trials = {
        Seen(name, "all"): trials_of(task, features, places, draws, ("nearest", "linear", "forest"))
        for name, features in (("itself", ITSELF), ("noise", NOISE))
    }
    return compared(task, trials, resamples=200)


def test_the_target_itself_beats_noise(comparison: Comparison) -> None:
    itself, noise = (
        [item for item in comparison.scores if item.seen.encoder == name and item.measure != "RMSE"]
        for name in ("itself", "noise")
    )
    assert {item.head for item in itself} >= {"k-NN 1", "k-NN 3", "k-NN 20", "forest"}
    for item in itself:
        assert (item.gap.mean, item.gap.low, item.gap.high) == (0, 0, 0)
    for item in noise:
        if item.head in ("ridge", "logistic", "forest") and item.shots > 10:
            assert item.gap.high < 0
        assert item.estimate.low <= item.estimate.mean <= item.estimate.high or item.head == "k-NN 1"


def test_labels_needed_lie_among_those_tried(comparison: Comparison) -> None:
    found = {(item.seen.encoder, item.head): item for item in comparison.needed}
    head = "ridge" if ("itself", "ridge") in found else "logistic"
    needed = found["itself", head]
    assert 10 <= needed.labels.low <= needed.labels.mean <= needed.labels.high <= 225
    line = curve(comparison.scores, Seen("itself", "all"), head, needed.measure)
    assert [item.shots for item in line] == [10, 50, 225]
    assert line[-1].estimate.mean == needed.full


def test_regions_teach_themselves_and_each_other() -> None:
    """In the east the target is the feature, in the west its opposite."""
    east = LONLAT[:, 0] > 0
    feature = np.where(east, 1, -1) * np.nan_to_num(NUMBERS.values)
    regions = Regions(("west", "east", "none"), np.where(np.arange(ROWS) < 3, -1, east.astype(np.int64)))
    found = transfers(NUMBERS, np.column_stack([feature, NOISE[:, 0]]), PLACES, regions, Drawn(60, 3))
    scores = {(item.trained, item.tested): item.estimate for item in found}
    assert set(scores) == {(one, other) for one in ("west", "east") for other in ("west", "east")}
    assert min(scores["west", "west"].low, scores["east", "east"].low) > 0.95
    assert max(scores["west", "east"].high, scores["east", "west"].high) < 0
    assert {item.labels for item in found} == {60}


def test_classes_move_between_regions_too() -> None:
    regions = Regions(("west", "east"), (LONLAT[:, 0] > 0).astype(np.int64))
    found = transfers(CLASSES, ITSELF, PLACES, regions, Drawn(60, 2))
    assert len(found) == 4
    assert all(item.measure == "balanced accuracy" and item.estimate.mean > 0.8 for item in found)
