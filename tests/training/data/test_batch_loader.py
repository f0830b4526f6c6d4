"""The order of samples, and what is in a batch, follow from (seed, step) and the store alone."""

from __future__ import annotations

import threading
import time
import tracemalloc
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from tests.buckets import BUCKET, service
from tests.training.corpora import ALL, CONFIG, ECHO, LIGHT, make_corpus
from training.batch import Batch, Raw
from training.data.batch_loader import BatchLoader
from training.data.device_prefetcher import DevicePrefetcher, PrefetchedBatch
from training.data.masking import crops_yx, draw_keys, visible_patches
from training.layer import Layer, groups_of, layer_of
from training.rank_slice import RankSlice

NAMES = tuple(modality.name for modality in ALL)


def make_loader(corpus: Corpus, **changes) -> BatchLoader:
    return BatchLoader(corpus, [layer_of(corpus, name, {}) for name in NAMES], replace(CONFIG, **changes))


def same(one: Batch, other: Batch) -> bool:
    tensors = [(one.values[name], other.values[name]) for name in NAMES] + [
        (one.valid[name], other.valid[name]) for name in NAMES
    ]
    return one.rows == other.rows and all(
        torch.equal(a, b) for a, b in [*tensors, (one.visible, other.visible), (one.keys, other.keys)]
    )


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32), epoch=st.integers(0, 500), read_rows=st.integers(1, 30), mix_blocks=st.integers(1, 9)
)
def test_an_epoch_in_blocks_is_every_train_row_once(
    corpus: Corpus, seed: int, epoch: int, read_rows: int, mix_blocks: int
) -> None:
    settled = {"seed": seed, "read_rows": read_rows, "mix_blocks": mix_blocks, "order": "blocks"}
    order = make_loader(corpus, **settled).order(epoch)
    assert sorted(order) == corpus.manifest.rows_of("train").tolist()
    assert np.array_equal(order, make_loader(corpus, **settled, batch_size=7, threads=2, workers=3).order(epoch))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), epoch=st.integers(0, 500), read_rows=st.integers(1, 30),
       companions=st.integers(1, 9), batch_size=st.integers(1, 30))  # fmt: skip
def test_an_epoch_is_every_train_row_once(
    corpus: Corpus, seed: int, epoch: int, read_rows: int, companions: int, batch_size: int
) -> None:
    settled = {"seed": seed, "read_rows": read_rows, "companions": companions, "batch_size": batch_size}
    order = make_loader(corpus, **settled).order(epoch)
    assert sorted(order) == corpus.manifest.rows_of("train").tolist()
    assert np.array_equal(order, make_loader(corpus, **settled, threads=2, workers=3, micro_batch=2).order(epoch))


@pytest.mark.parametrize("order", ["dealt", "blocks"])
def test_epochs_and_seeds_differ(corpus: Corpus, order: str) -> None:
    loaders = [make_loader(corpus, seed=seed, order=order) for seed in range(3)]
    orders = [tuple(loader.order(epoch)) for loader in loaders for epoch in range(3)]
    assert len(set(orders)) == 9


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 99), first=st.integers(0, 11))
def test_resuming_anywhere_gives_the_same_batches(corpus: Corpus, seed: int, first: int) -> None:
    whole = list(make_loader(corpus, seed=seed).batches(0, 12))
    resumed = list(make_loader(corpus, seed=seed).batches(first, 12))
    assert len(resumed) == 12 - first
    assert all(same(*pair) for pair in zip(whole[first:], resumed, strict=True))


def test_a_batch_holds_the_cropped_chips(corpus: Corpus) -> None:
    loader = make_loader(corpus)
    step = loader.steps_per_epoch + 1
    batch = loader.batch(step)
    rows = np.array(batch.rows)
    assert batch.rows == tuple(loader.order(1)[4:8])
    for name in NAMES:
        layer = layer_of(corpus, name, {})
        stored = np.stack([corpus.read(name, slice(row, row + 1))[0] for row in rows])
        if layer.pixel:
            corners = crops_yx(CONFIG.seed, 1, rows, 32, 24)
            stored = np.stack([item[:, y : y + 24, x : x + 24] for item, (y, x) in zip(stored, corners, strict=True)])
        values, valid = layer.values(stored, groups_of(corpus, layer)[rows])
        assert np.array_equal(batch.values[name].numpy(), values)
        assert np.array_equal(batch.valid[name].numpy(), valid)
    assert np.array_equal(batch.visible.numpy(), visible_patches(CONFIG.seed, 1, rows, 3, 3))
    assert np.array_equal(batch.keys.numpy(), draw_keys(CONFIG.seed, 1, rows)) and len(set(batch.keys.tolist())) == 4


@settings(max_examples=8, deadline=None)
@given(
    workers=st.integers(1, 5), read_ahead=st.integers(1, 4), world_size=st.integers(1, 5),
    micro_batches=st.integers(1, 3), batch_size=st.integers(5, 16),
)  # fmt: skip
def test_any_workers_and_processes_see_the_same_samples(
    corpus: Corpus, workers: int, read_ahead: int, world_size: int, micro_batches: int, batch_size: int
) -> None:
    whole = make_loader(corpus, batch_size=batch_size)
    loader = make_loader(corpus, batch_size=batch_size, workers=workers, read_ahead=read_ahead)
    rank_slices = [RankSlice(rank, world_size, micro_batches) for rank in range(world_size)]
    streams = [list(loader.batches(3, 6, rank_slice=rank_slice)) for rank_slice in rank_slices]
    assert {len(stream) for stream in streams} == {3 * micro_batches}
    for index, step in enumerate(range(3, 6)):
        parts = [part for stream in streams for part in stream[index * micro_batches : (index + 1) * micro_batches]]
        assert same(joined(parts), whole.batch(step))
        sizes = [len(part.rows) for part in parts]
        assert max(sizes) - min(sizes) <= 1


def joined(parts: list[Batch]) -> Batch:
    values, valid = ({name: torch.cat([getattr(part, field)[name] for part in parts]) for name in NAMES}
                     for field in ("values", "valid"))  # fmt: skip
    visible = torch.cat([part.visible for part in parts])
    keys = torch.cat([part.keys for part in parts])
    return Batch(values, valid, visible, tuple(row for part in parts for row in part.rows), keys)


def test_batches_stay_what_they_were_while_others_are_read(corpus: Corpus) -> None:
    """Buffers are reused; what was handed over must not change under its owner."""
    loader = make_loader(corpus, read_ahead=1)
    kept = list(loader.batches(0, 9))
    assert all(same(batch, loader.batch(step)) for step, batch in enumerate(kept))


def test_a_corpus_in_a_bucket_gives_the_same_batches(corpus: Corpus, tmp_path: Path) -> None:
    with service():
        remote = make_corpus(tmp_path, store_url=f"s3://{BUCKET}/corpus.zarr")
        assert remote.store.folder is None
        local, far = (list(make_loader(item, workers=2).batches(2, 9)) for item in (corpus, remote))
        resumed = list(make_loader(remote, cache_folder=str(tmp_path / "cache")).batches(6, 9))
        cached = list(make_loader(remote, cache_folder=str(tmp_path / "cache"), read_ahead_gb=1e-9).batches(6, 9))
    assert len(far) == 7 and all(same(*pair) for pair in zip(local, far, strict=True))
    assert all(same(*pair) for pair in zip(local[4:] * 2, resumed + cached, strict=True))
    assert any((tmp_path / "cache").rglob("0-*"))


class LatePrefetcher(DevicePrefetcher):
    """Fetches batches some time after they were sent, as a GPU does, by a thread of its own."""

    overlaps = True

    def __init__(self, layers: list[Layer]) -> None:
        super().__init__(layers, torch.device("cpu"))
        self.pool = ThreadPoolExecutor(1)

    def send(self, raw: Raw) -> PrefetchedBatch:
        fetched = self.pool.submit(self._fetch, raw)
        return PrefetchedBatch(fetched, Fetched(fetched))

    def _fetch(self, raw: Raw) -> Batch:
        time.sleep(0.004)
        return super().send(raw).batch

    def receive(self, prefetched: PrefetchedBatch) -> Batch:
        return prefetched.batch.result()


@dataclass(frozen=True)
class Fetched:
    """Stands for the event that a copy leaves."""

    fetched: Future[Batch]

    def query(self) -> bool:
        return self.fetched.done()

    def synchronize(self) -> None:
        self.fetched.result()


@pytest.mark.parametrize("read_ahead", [1, 2, 4])
def test_buffers_are_not_refilled_before_they_were_fetched(corpus: Corpus, read_ahead: int) -> None:
    loader = make_loader(corpus, read_ahead=read_ahead, workers=2)
    prefetcher = LatePrefetcher([layer_of(corpus, name, {}) for name in NAMES])
    with prefetcher.pool, closing(loader.stream(0, 12, prefetcher)) as batches:
        kept = list(batches)
    assert len(kept) == 12 and all(same(batch, loader.batch(step)) for step, batch in enumerate(kept))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gets_the_same_batches(corpus: Corpus) -> None:
    """Buffers are pinned and come round again while the GPU is kept busy; what it got must not change."""
    loader, load = make_loader(corpus, read_ahead=1, workers=2), torch.ones(4096, 4096, device="cuda")
    kept = []
    with closing(loader.batches(0, 12, torch.device("cuda"))) as batches:
        for batch in batches:
            load = load @ load / 4096
            kept.append(batch)
    for step, batch in enumerate(kept):
        there, here = batch.to(torch.device("cpu")), loader.batch(step)
        assert there.rows == here.rows and torch.equal(there.visible, here.visible)
        for name in NAMES:
            assert torch.equal(there.valid[name], here.valid[name])
            torch.testing.assert_close(there.values[name], here.values[name], rtol=1e-6, atol=1e-6)


def test_bands_of_any_choice_and_order(corpus: Corpus) -> None:
    for bands in (("green",), ("red", "green"), ("green", "red"), ("haze", "green", "red"), ("red", "haze", "green")):
        layer = layer_of(corpus, "light", {"light": bands})
        loader = BatchLoader(corpus, [layer], replace(CONFIG, image_px=32, patch_px=8))
        batch = loader.batch(0)
        rows = list(batch.rows)
        values, valid = layer.values(corpus.read("light", slice(0, 20))[rows], groups_of(corpus, layer)[rows])
        assert np.array_equal(batch.values["light"].numpy(), values)
        assert np.array_equal(batch.valid["light"].numpy(), valid)


def test_a_window_mixes_its_blocks(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, 80, (LIGHT,), shard_rows=20)
    layers = [layer_of(corpus, "light", {})]
    config = replace(CONFIG, order="blocks", read_rows=5)
    alone, mixed = (BatchLoader(corpus, layers, replace(config, mix_blocks=mix)) for mix in (1, 4))
    assert blocks_in(alone, 4) == 1 and blocks_in(mixed, 4) > 2
    assert blocks_in(mixed, 16) <= 5  # And no more than a window's, so that reading stays local.


def blocks_in(loader: BatchLoader, count: int) -> float:
    """Mean number of blocks of 5 rows that are touched by the first `count` samples of an epoch."""
    return float(np.mean([len({row // 5 for row in loader.order(epoch)[:count]}) for epoch in range(20)]))


def test_position_names_the_next_sample(corpus: Corpus) -> None:
    loader = make_loader(corpus)
    for step in range(9):
        position = loader.position(step)
        assert (position.epoch, position.row) == (step // 4, loader.batch(step).rows[0])
        assert position.shard == position.row // 8


def test_waiting_is_measured(corpus: Corpus) -> None:
    batches = make_loader(corpus, workers=1).batches(0, 4)
    batches._pool.submit(time.sleep, 0.2)  # The one thread is busy before it comes to the first batch.
    next(batches)
    first = batches.wait_s
    wait([task for item in batches._decoding for task in item.tasks])
    next(batches)
    assert first > 0.1 > batches.wait_s >= 0
    batches.close()


@given(seed=st.integers(0, 2**70), row=st.integers(0, 2**40), side=st.integers(1, 14), data=st.data())
@settings(max_examples=50, deadline=None)
def test_masks_keep_exactly_as_many(seed: int, row: int, side: int, data: st.DataObject) -> None:
    keep = data.draw(st.integers(0, side**2))
    mask = visible_patches(seed, 3, [row], side, keep)
    assert mask.sum() == keep and mask.shape == (1, side, side)
    among_others = visible_patches(seed, 3, [row + 1, row, 5], side, keep)
    assert np.array_equal(mask[0], among_others[1])


def test_masks_and_crops_are_uniform_and_change_with_epoch_row_and_seed() -> None:
    rows = np.arange(500)
    masks = np.concatenate([visible_patches(seed, epoch, rows, 7, 19) for seed in range(2) for epoch in range(20)])
    np.testing.assert_allclose(masks.mean(0), 19 / 49, atol=0.015)
    assert len(np.unique(masks.reshape(len(masks), -1), axis=0)) == len(masks)
    corners = np.concatenate([crops_yx(0, epoch, rows, 10, 8) for epoch in range(20)])
    counts = np.unique(corners, axis=0, return_counts=True)[1]
    assert len(counts) == 9 and counts.min() > 1000 and counts.max() < 1230
    assert crops_yx(0, 0, [0], 8, 8).tolist() == [[0, 0]]


def test_only_finished_shards_are_read(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, modalities=(LIGHT, ECHO))
    corpus.ledger.path("echo", 0).unlink()
    layers = [layer_of(corpus, name, {}) for name in ("light", "echo")]
    loader = BatchLoader(corpus, layers, CONFIG)
    assert loader.rows.tolist() == [row for row in corpus.manifest.rows_of("train") if row >= 8]
    for index in (1, 2):
        corpus.ledger.path("echo", index).unlink()
    with pytest.raises(Fatal, match="no shard with train rows .* is finished for all of light, echo"):
        BatchLoader(corpus, layers, CONFIG)


def test_fewer_rows_than_a_batch_make_one_batch(corpus: Corpus) -> None:
    loader = make_loader(corpus, batch_size=100)
    assert (loader.batch_size, loader.steps_per_epoch) == (16, 1)
    assert sorted(loader.batch(3).rows) == corpus.manifest.rows_of("train").tolist()


def test_stopping_early_leaves_no_thread(corpus: Corpus) -> None:
    batches = make_loader(corpus).batches(0, 50)
    next(batches)
    batches.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("loader")]


def test_errors_of_the_reading_thread_reach_the_caller(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, modalities=(LIGHT,))
    loader = BatchLoader(corpus, [layer_of(corpus, "light", {})], CONFIG)
    corpus.ledger.path("light", 0).unlink()
    with pytest.raises(Fatal, match="is not finished"):
        list(loader.batches(0, loader.steps_per_epoch))


def test_a_stream_without_an_end_costs_nothing_ahead(corpus: Corpus) -> None:
    """What is to come is not listed before: a benchmark asks for as many batches as time allows."""
    loader = make_loader(corpus)
    tracemalloc.start()
    with closing(loader.batches(0, 10**6)) as stream:
        first = next(stream)
        _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert first.rows == loader.batch(0).rows and peak < 30e6
