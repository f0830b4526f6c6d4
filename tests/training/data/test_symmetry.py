"""Flips and quarter turns are those of NumPy, the same for all layers, and follow from seed, epoch and row alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.corpus import Corpus
from tests.training.corpora import CONFIG
from tests.training.pretrain.test_train import Recorder, Stopped, assert_same_state, next_second
from tests.training.sensor_corpus import CONTRASTIVE
from training.data.masking import symmetries
from training.data.symmetry import turned
from training.pretrain.resolved_run import resolve_run
from training.pretrain.train import pretrain
from training.rank_slice import RankSlice

TURNED = replace(CONFIG, augment="dihedral")
# The eight symmetries, by NumPy alone: exchange of x and y is a quarter turn and a flip.
PLAIN = [
    lambda chip: chip,
    lambda chip: np.flip(chip, 2),
    lambda chip: np.flip(chip, 1),
    lambda chip: np.rot90(chip, 2, (1, 2)),
    lambda chip: np.flip(np.rot90(chip, 1, (1, 2)), 1),
    lambda chip: np.rot90(chip, -1, (1, 2)),
    lambda chip: np.rot90(chip, 1, (1, 2)),
    lambda chip: np.flip(np.rot90(chip, 1, (1, 2)), 2),
]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "uint32", "int64"])
def test_each_is_that_of_numpy(dtype: str) -> None:
    chips = np.random.default_rng(0).integers(0, 200, (8, 3, 6, 6)).astype(dtype)
    expected = np.stack([plain(chip) for plain, chip in zip(PLAIN, chips, strict=True)])
    assert len({item.tobytes() for item in (plain(chips[0]) for plain in PLAIN)}) == 8
    np.testing.assert_array_equal(turned(torch.from_numpy(chips), torch.arange(8)).numpy(), expected)


@pytest.mark.parametrize(("augment", "kinds"), [("flips", 4), ("dihedral", 8)])
def test_all_layers_and_their_gaps_are_turned_alike(corpus: Corpus, augment: str, kinds: int) -> None:
    plain = resolve_run(corpus, replace(CONFIG, batch_size=16)).loader.batch(1)
    batch = resolve_run(corpus, replace(CONFIG, batch_size=16, augment=augment)).loader.batch(1)
    drawn = symmetries(CONFIG.seed, 1, batch.rows, kinds)
    assert batch.rows == plain.rows and len(set(drawn.tolist())) > 2
    assert torch.equal(batch.visible, plain.visible) and torch.equal(batch.keys, plain.keys)
    for name, values in plain.values.items():
        for index, symmetry in enumerate(drawn):
            turn = PLAIN[symmetry] if values.ndim == 4 else PLAIN[0]
            np.testing.assert_array_equal(batch.values[name][index].numpy(), turn(values[index].numpy()))
            np.testing.assert_array_equal(batch.valid[name][index].numpy(), turn(plain.valid[name][index].numpy()))


def test_processes_and_micro_batches_get_the_same(corpus: Corpus) -> None:
    loader = resolve_run(corpus, replace(TURNED, batch_size=8)).loader
    whole = loader.batch(1)
    for rank in range(2):
        slices = RankSlice(rank, 2, 2)
        with_parts = loader.batches(1, 2, rank_slice=slices)
        for part, batch in zip(slices.slices(8), with_parts, strict=True):
            assert all(torch.equal(item, whole.values[name][part]) for name, item in batch.values.items())


def test_each_is_drawn_about_as_often_and_anew_in_each_epoch() -> None:
    rows = np.arange(8000)
    first, second = (symmetries(0, epoch, rows, 8) for epoch in (0, 1))
    assert np.all(np.abs(np.bincount(first, minlength=8) - 1000) < 150)
    assert abs(np.mean(first == second) - 1 / 8) < 0.02


@pytest.mark.parametrize("base", [TURNED, replace(CONTRASTIVE, inputs=("light", "ground"), augment="flips")])
def test_a_run_goes_on_bit_for_bit(corpus: Corpus, tmp_path: Path, base: object) -> None:
    whole = pretrain(corpus.folder, base, tmp_path / "whole")
    with pytest.raises(Stopped):
        pretrain(corpus.folder, base, tmp_path / "parts", Recorder(3))
    next_second()
    parts = pretrain(corpus.folder, base, tmp_path / "parts")
    assert_same_state(parts.checkpoint, whole.checkpoint)
    assert "`augment = " in (tmp_path / "whole" / "model_card.md").read_text()
