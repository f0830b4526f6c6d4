"""The benchmark's splits leak nothing, and EuroSAT's bands go by their names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import eurosat
from benchmarks.transfer import Task, few_of, folds

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "eurosat"
CLASSES = np.repeat(np.arange(4), 10)
needs_data = pytest.mark.skipif(not (DATA / eurosat.MULTISPECTRAL).is_dir(), reason="EuroSAT is not at hand")


def test_folds_are_stratified_and_apart() -> None:
    for inverted, tested in ((False, 1), (True, 4)):
        task = folds("any", CLASSES, 3, inverted)
        times = np.zeros(len(CLASSES))
        for train, test in task.draws:
            assert not set(train) & set(test) and len(train) + len(test) == len(CLASSES)
            assert len(set(np.bincount(CLASSES[train]))) == 1
            times[test] += 1
        assert (times == 3 * tested).all()


def test_few_labels_come_from_one_half_and_the_other_is_tested() -> None:
    task = few_of("any", CLASSES, 2, repeats=6)
    tests = {tuple(test) for _, test in task.draws}
    assert len(tests) == 1 and len(next(iter(tests))) == 20
    assert len({tuple(train) for train, _ in task.draws}) > 1
    assert all(not set(train) & set(test) and (np.bincount(CLASSES[train]) == 2).all() for train, test in task.draws)


def test_a_task_averages_what_each_draw_says_of_a_sample() -> None:
    """A feature that gives the class away is read in every draw; one that does not, in none."""
    task = folds("any", CLASSES, 1, inverted=True)  # five draws; four of them test each sample
    assert task.probe(np.eye(4, dtype=np.float32)[CLASSES]).score == 1
    noise = np.random.default_rng(0).normal(size=(len(CLASSES), 4)).astype(np.float32)
    assert task.probe(noise).score < 0.5
    assert isinstance(task, Task)


@needs_data
def test_bands_are_chosen_by_name_though_the_last_is_b8a() -> None:
    """Over land B10, the cirrus band, is nearly black; B8A is as bright as its neighbour B8; vegetation is not red."""
    scenes = eurosat.multispectral(DATA)
    means = dict(zip(scenes.bands, scenes.images.mean(axis=(0, 2, 3)), strict=True))
    assert means["B10"] < 0.05 * min(value for name, value in means.items() if name != "B10")
    assert means["B8A"] == pytest.approx(means["B8"], rel=0.2)
    assert means["B4"] < means["B8"] / 2
    chosen = scenes.normalised(("B8A", "B2"))
    whole = scenes.images[:, [12, 1]]
    expected = (whole - whole.mean(axis=(0, 2, 3))[:, None, None]) / whole.std(axis=(0, 2, 3))[:, None, None]
    np.testing.assert_allclose(chosen, expected, rtol=1e-3, atol=1e-3)
    assert (np.bincount(scenes.classes) == 10).all()
