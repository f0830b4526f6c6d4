"""The order of samples, and what is in a batch, follow from (seed, step) and the store alone."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from tests.training.corpora import ALL, CONFIG, ECHO, LIGHT, make_corpus
from training.data import Batch, Feed
from training.layer import groups_of, layer_of
from training.masking import crop_yx, visible_patches

NAMES = tuple(modality.name for modality in ALL)


def make_feed(corpus: Corpus, **changes) -> Feed:
    return Feed(corpus, [layer_of(corpus, name, {}) for name in NAMES], replace(CONFIG, **changes))


def same(one: Batch, other: Batch) -> bool:
    tensors = [(one.values[name], other.values[name]) for name in NAMES] + [
        (one.valid[name], other.valid[name]) for name in NAMES
    ]
    return one.rows == other.rows and all(torch.equal(a, b) for a, b in [*tensors, (one.visible, other.visible)])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), epoch=st.integers(0, 500), read_rows=st.integers(1, 30))
def test_an_epoch_is_every_train_row_once(corpus: Corpus, seed: int, epoch: int, read_rows: int) -> None:
    order = make_feed(corpus, seed=seed, read_rows=read_rows).order(epoch)
    assert sorted(order) == corpus.manifest.rows_of("train").tolist()
    assert np.array_equal(
        order, make_feed(corpus, seed=seed, read_rows=read_rows, batch_size=7, threads=2).order(epoch)
    )


def test_epochs_and_seeds_differ(corpus: Corpus) -> None:
    orders = [tuple(make_feed(corpus, seed=seed).order(epoch)) for seed in range(3) for epoch in range(3)]
    assert len(set(orders)) == 9


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 99), first=st.integers(0, 11))
def test_resuming_anywhere_gives_the_same_batches(corpus: Corpus, seed: int, first: int) -> None:
    whole = list(make_feed(corpus, seed=seed).batches(0, 12))
    resumed = list(make_feed(corpus, seed=seed).batches(first, 12))
    assert len(resumed) == 12 - first
    assert all(same(*pair) for pair in zip(whole[first:], resumed, strict=True))


def test_a_batch_holds_the_cropped_chips(corpus: Corpus) -> None:
    feed = make_feed(corpus)
    step = feed.steps_per_epoch + 1
    batch = feed.batch(step)
    rows = np.array(batch.rows)
    assert batch.rows == tuple(feed.order(1)[4:8])
    for name in NAMES:
        layer = layer_of(corpus, name, {})
        stored = np.stack([corpus.read(name, slice(row, row + 1))[0] for row in rows])
        if layer.pixel:
            corners = [crop_yx(CONFIG.seed, 1, int(row), 32, 24) for row in rows]
            stored = np.stack([one[:, y : y + 24, x : x + 24] for one, (y, x) in zip(stored, corners, strict=True)])
        values, valid = layer.values(stored, groups_of(corpus, layer)[rows])
        assert np.array_equal(batch.values[name].numpy(), values)
        assert np.array_equal(batch.valid[name].numpy(), valid)
    expected = [visible_patches(CONFIG.seed, 1, int(row), 3, 3) for row in rows]
    assert np.array_equal(batch.visible.numpy(), np.stack(expected))


@given(seed=st.integers(0, 2**40), row=st.integers(0, 2**40), side=st.integers(1, 14), data=st.data())
@settings(max_examples=50, deadline=None)
def test_masks_keep_exactly_as_many(seed: int, row: int, side: int, data: st.DataObject) -> None:
    keep = data.draw(st.integers(0, side**2))
    mask = visible_patches(seed, 3, row, side, keep)
    assert mask.sum() == keep and mask.shape == (side, side)
    assert np.array_equal(mask, visible_patches(seed, 3, row, side, keep))


def test_masks_and_crops_are_uniform_and_change_with_epoch_and_row() -> None:
    masks = np.stack([visible_patches(0, epoch, row, 7, 19) for epoch in range(20) for row in range(50)])
    np.testing.assert_allclose(masks.mean(0), 19 / 49, atol=0.08)
    assert len(np.unique(masks.reshape(1000, -1), axis=0)) == 1000
    corners = [crop_yx(0, epoch, row, 10, 8) for epoch in range(20) for row in range(45)]
    counts = np.unique(np.array(corners), axis=0, return_counts=True)[1]
    assert len(counts) == 9 and counts.min() > 60
    assert crop_yx(0, 0, 0, 8, 8) == (0, 0)


def test_only_finished_shards_are_read(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, modalities=(LIGHT, ECHO))
    corpus.ledger.forget("echo", 0)
    layers = [layer_of(corpus, name, {}) for name in ("light", "echo")]
    feed = Feed(corpus, layers, CONFIG)
    assert feed.rows.tolist() == [row for row in corpus.manifest.rows_of("train") if row >= 8]
    for index in (1, 2):
        corpus.ledger.forget("echo", index)
    with pytest.raises(Fatal, match="no shard with train rows .* is finished for all of light, echo"):
        Feed(corpus, layers, CONFIG)


def test_fewer_rows_than_a_batch_make_one_batch(corpus: Corpus) -> None:
    feed = make_feed(corpus, batch_size=100)
    assert (feed.batch_size, feed.steps_per_epoch) == (16, 1)
    assert sorted(feed.batch(3).rows) == corpus.manifest.rows_of("train").tolist()


def test_stopping_early_leaves_no_thread(corpus: Corpus) -> None:
    batches = make_feed(corpus).batches(0, 50)
    next(batches)
    batches.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("feed")]


def test_errors_of_the_reading_thread_reach_the_caller(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, modalities=(LIGHT,))
    feed = Feed(corpus, [layer_of(corpus, "light", {})], CONFIG)
    corpus.ledger.forget("light", 0)
    with pytest.raises(Fatal, match="is not finished"):
        list(feed.batches(0, feed.steps_per_epoch))
