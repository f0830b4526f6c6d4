"""Datasets for a training loop of one's own: values and masks, workers of every kind, order, refusals."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, default_collate

import geocorpus
from pipeline.bucket import BucketStore
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from tests.buckets import BUCKET, service
from tests.pipeline.chips import make_manifest
from tests.training.corpora import ALL, SIZE_PX, chips_of, make_corpus
from training.data.chip_dataset import ChipDataset
from training.data.shuffled_chips import ShuffledChips

NAMES = tuple(one.name for one in ALL)
TIMEOUT_S = 100  # of one batch: a worker that hangs fails its test, whatever the machine is busy with


@pytest.fixture(scope="module")
def opened(corpus: Corpus) -> geocorpus.Corpus:
    return geocorpus.open(str(corpus.folder))


def loader(dataset: Any, method: str | None, workers: int = 2, **options: Any) -> DataLoader[dict[str, Any]]:
    several = {"num_workers": workers, "multiprocessing_context": method, "timeout": TIMEOUT_S} if method else {}
    return DataLoader(dataset, batch_size=4, **several, **options)


def rows_in(batches: Iterator[dict[str, Any]]) -> list[int]:
    return [row for batch in batches for row in batch["chip"]["row"].tolist()]


@pytest.mark.parametrize("split", ["train", "val", None])
def test_stored_values_are_those_of_the_store(opened: geocorpus.Corpus, split: str | None) -> None:
    dataset = opened.torch_dataset(split=split, values="stored")
    expected = np.arange(20) if split is None else opened.manifest.rows_of(split)
    assert dataset.rows.tolist() == expected.tolist() and len(dataset) == len(expected)
    for sample, row in zip(dataset, expected.tolist(), strict=True):
        assert set(sample) == {*NAMES, *(f"{name}_valid" for name in NAMES), "chip"}
        for name in NAMES:
            stored = opened.read(name, slice(row, row + 1))[0]
            np.testing.assert_array_equal(sample[name].numpy(), stored, strict=True)
            np.testing.assert_array_equal(sample[f"{name}_valid"].numpy(), opened.modality(name).valid(stored))


def test_physical_values_are_those_of_the_modality(opened: geocorpus.Corpus) -> None:
    for sample in opened.torch_dataset():
        row = sample["chip"]["row"]
        for name in NAMES:
            modality, stored = opened.modality(name), opened.read(name, slice(row, row + 1))[0]
            values, valid = sample[name].numpy(), sample[f"{name}_valid"].numpy()
            assert values.shape == valid.shape == stored.shape and valid.dtype == bool
            if modality.categories:
                assert values.dtype == np.int64
                codes = np.array([*modality.codes, modality.fill])[values]  # -1 is the last of them
                np.testing.assert_array_equal(codes, stored)
            else:
                assert values.dtype == np.float32
                physical = modality.physical(stored)
                np.testing.assert_allclose(values, np.nan_to_num(physical), rtol=1e-6)
            np.testing.assert_array_equal(valid, ~np.isnan(modality.physical(stored)))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"])
@pytest.mark.parametrize("extent", ["pixel", "image"])
def test_every_dtype_is_scaled_as_the_modality_says(tmp_path: Path, dtype: str, extent: str) -> None:
    """Against `Modality.physical`, which computes in double precision."""
    nodata = float("nan") if dtype.startswith("float") else 7
    layer = geocorpus.Modality(
        "layer", "Layer", (geocorpus.Band("a"), geocorpus.Band("b")), dtype, nodata, extent=extent,  # type: ignore[arg-type]
        scale=0.0003, offset=-271.5,
    )  # fmt: skip
    make_manifest(tmp_path, 6, SIZE_PX)
    corpus = Corpus.create(tmp_path, [layer], shard_rows=4)
    random = np.random.default_rng(0)
    for shard in corpus.shards:
        block = random.integers(0, 120, (len(shard), *layer.shape(SIZE_PX))).astype(dtype)
        block[block == 7] = layer.fill
        corpus.write(shard, "layer", block, {})
    for sample in ChipDataset(corpus, split=None):
        row = sample["chip"]["row"]
        physical = layer.physical(corpus.read("layer", slice(row, row + 1))[0])
        assert sample["layer"].dtype == torch.float32
        np.testing.assert_allclose(sample["layer"].numpy(), np.nan_to_num(physical), rtol=2e-6)
        np.testing.assert_array_equal(sample["layer_valid"].numpy(), ~np.isnan(physical))


def test_chosen_bands_come_in_the_order_asked_for(opened: geocorpus.Corpus) -> None:
    bands = {"light": ["green", "red"], "weather": ["rain"], "echo": ["down"]}
    for values in ("stored", "physical"):
        whole = opened.torch_dataset(values=values)  # type: ignore[arg-type]
        chosen = opened.torch_dataset(["light", "weather", "echo"], bands=bands, values=values)  # type: ignore[arg-type]
        for item, all_of_it in zip(chosen, whole, strict=True):
            for name, names in bands.items():
                places = [opened.modality(name).band_names.index(band) for band in names]
                for key in (name, f"{name}_valid"):
                    torch.testing.assert_close(item[key], all_of_it[key][places], equal_nan=True)


def test_a_batch_names_each_chip_its_place_and_its_grid(opened: geocorpus.Corpus) -> None:
    (batch,) = DataLoader(opened.torch_dataset(["light"], split="val"), batch_size=10)
    about = batch["chip"]
    assert about["row"].dtype == torch.int64 and about["lon"].dtype == torch.float64
    for index, row in enumerate(about["row"].tolist()):
        chip = opened.chip(row)
        assert (about["lon"][index], about["lat"][index]) == chip.location.lonlat
        assert f"EPSG:{about['epsg'][index]}" == chip.grid.crs
        assert (about["origin_x_m"][index], about["origin_y_m"][index]) == chip.grid.origin_xy
        assert about["resolution_m"][index] == chip.grid.resolution_m
        stored = torch.from_numpy(chip.stored("light"))
        assert torch.equal(batch["light_valid"][index], stored != int(opened.modality("light").fill))


@pytest.mark.parametrize(
    ("method", "values"), [(None, "physical"), ("fork", "physical"), ("fork", "stored"), ("spawn", "stored")]
)
def test_workers_give_what_one_process_gives(opened: geocorpus.Corpus, method: str | None, values: Any) -> None:
    """Also where this process has read before, through zarr-python, xarray's Dask arrays and our reader."""
    opened.read("echo", slice(0, 3))
    opened.xarray()["echo"][0].to_numpy()
    dataset = opened.torch_dataset(split=None, values=values)
    alone = [dataset[index] for index in range(len(dataset))]
    for _ in range(1 if method == "spawn" else 2):  # workers are made anew
        batches = list(loader(dataset, method))
        assert rows_in(iter(batches)) == list(range(20))
        for name in (*NAMES, *(f"{name}_valid" for name in NAMES)):
            result = torch.cat([batch[name].view(torch.int16) if batch[name].dtype == torch.uint16 else batch[name]
                               for batch in batches])  # fmt: skip
            expected = torch.stack([item[name].view(torch.int16) if item[name].dtype == torch.uint16 else item[name]
                                    for item in alone])  # fmt: skip
            torch.testing.assert_close(result, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(("method", "workers"), [("fork", 1), ("fork", 2), ("spawn", 2)])
def test_a_shuffled_epoch_has_every_chip_once_for_any_number_of_workers(
    opened: geocorpus.Corpus, method: str, workers: int
) -> None:  # fmt: skip
    shuffled = opened.torch_dataset(["ground"]).shuffled(seed=3, block_rows=3, mix_blocks=2)
    train = opened.manifest.rows_of("train").tolist()
    assert shuffled.chips_per_epoch == len(train)
    batches, orders = loader(shuffled, method, workers, persistent_workers=True), []
    for epoch in (0, 1, 0):
        shuffled.set_epoch(epoch)
        orders.append(rows_in(iter(batches)))
        assert sorted(orders[-1]) == train, f"epoch {epoch}"
    assert orders[0] == orders[2] != orders[1]


@pytest.mark.parametrize(("method", "workers"), [(None, 0), ("fork", 1), ("fork", 2), ("spawn", 1)])
def test_batches_are_what_collation_makes_of_their_chips(
    opened: geocorpus.Corpus, method: str | None, workers: int
) -> None:  # fmt: skip
    dataset = opened.torch_dataset()
    batches = dataset.shuffled(seed=3, block_rows=3, mix_blocks=2).batches(5)
    several = {"num_workers": workers, "multiprocessing_context": method, "timeout": TIMEOUT_S} if method else {}
    for epoch in range(1 if method == "spawn" else 2):
        batches.set_epoch(epoch)
        result = list(DataLoader(batches, batch_size=None, **several))  # type: ignore[arg-type]
        assert sorted(rows_in(iter(result))) == dataset.rows.tolist()
        for batch in result:
            expected = default_collate([dataset.sample(row) for row in batch["chip"]["row"].tolist()])
            torch.testing.assert_close(batch, expected, rtol=0, atol=0, equal_nan=True)


def test_a_batch_without_chips_is_refused(opened: geocorpus.Corpus) -> None:
    for size, threads in ((0, 1), (1, -1)):
        with pytest.raises(Fatal, match=r"the size of a batch must be at least 1, not|threads must be at least 0, not"):
            opened.torch_dataset(["light"]).shuffled().batches(size, threads)


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_do_not_depend_on_threads(opened: geocorpus.Corpus, threads: int) -> None:
    shuffled = opened.torch_dataset(["light", "weather"]).shuffled(block_rows=3)
    result = list(shuffled.batches(3, threads))
    expected = [shuffled._chips.batch(rows) for rows in np.split(shuffled.order(), range(3, 16, 3))]
    torch.testing.assert_close(result, expected, rtol=0, atol=0, equal_nan=True)


def test_an_epoch_that_is_left_early_leaves_no_thread(opened: geocorpus.Corpus) -> None:
    iterator = iter(opened.torch_dataset(["light"]).shuffled(block_rows=3).batches(2, 2))
    next(iterator)
    del iterator
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("chips")]


def test_an_error_of_a_batch_comes_at_that_batch(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, modalities=ALL[:1])
    batches = geocorpus.open(tmp_path).torch_dataset(split=None).shuffled(block_rows=8, mix_blocks=1).batches(4, 2)
    corpus.object_path("light", corpus.shards[1]).write_bytes(b"damaged")
    with pytest.raises(Fatal, match="shard 1 of 'light' in .* is damaged"):
        list(batches)


def test_the_order_is_that_of_seed_and_epoch(opened: geocorpus.Corpus) -> None:
    def order(seed: int, epoch: int) -> list[int]:
        shuffled = opened.torch_dataset(["ground"]).shuffled(seed, block_rows=3, mix_blocks=2)
        shuffled.set_epoch(epoch)
        return [sample["chip"]["row"] for sample in shuffled]

    assert order(0, 0) == order(0, 0)
    orders = [order(0, 0), order(0, 1), order(1, 0), opened.manifest.rows_of("train").tolist()]
    assert len({tuple(item) for item in orders}) == len(orders)


def test_workers_that_stay_hear_of_the_next_epoch(opened: geocorpus.Corpus) -> None:
    shuffled = opened.torch_dataset(["ground"]).shuffled(block_rows=3, mix_blocks=2)
    batches = loader(shuffled, "fork", 1, persistent_workers=True)
    for epoch in (0, 1, 0):
        shuffled.set_epoch(epoch)
        assert rows_in(iter(batches)) == shuffled.order().tolist(), epoch


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_processes_share_an_epoch_evenly(opened: geocorpus.Corpus, ranks: int) -> None:
    dataset = opened.torch_dataset(["ground"])
    parts = [dataset.shuffled(5, 3, 2, rank, ranks) for rank in range(ranks)]
    rows = [[sample["chip"]["row"] for sample in part] for part in parts]
    assert {len(item) for item in rows} == {len(dataset) // ranks} == {part.chips_per_epoch for part in parts}
    together = [row for item in rows for row in item]
    assert len(set(together)) == len(together) and set(together) <= set(dataset.rows.tolist())


def test_a_window_of_a_shuffle_lies_together(opened: geocorpus.Corpus) -> None:
    """Some `mix_blocks` runs are read at a time, so that few shards are open."""
    shuffled = opened.torch_dataset(["ground"]).shuffled(seed=1, block_rows=4, mix_blocks=1)
    run_of = dict(zip(shuffled._order.rows.tolist(), shuffled._order.runs(0).tolist(), strict=True))
    runs = [run_of[row] for row in shuffled.order().tolist()]
    changes = sum(item != other for item, other in zip(runs, runs[1:], strict=False))
    assert changes == len(set(runs)) - 1 and max(map(runs.count, runs)) > 1


def test_only_finished_shards_are_read_and_no_finalize_is_needed(tmp_path: Path) -> None:
    manifest = make_manifest(tmp_path, 20, SIZE_PX)
    corpus = Corpus.create(tmp_path, ALL[:3], shard_rows=8)
    with pytest.raises(
        Fatal, match="no shard with train rows .* is finished for all of light, echo; run `geocorpus exp"
    ):
        ChipDataset(corpus, ["light", "echo"])
    for shard, name in [(0, "light"), (1, "light"), (1, "echo")]:
        modality, rows = corpus.modality(name), corpus.shards[shard].rows
        corpus.write(corpus.shards[shard], name, chips_of(modality, manifest, rows), {})
    assert set(ChipDataset(corpus, ["light"], split=None).rows) == set(range(16))
    both = ChipDataset(corpus, ["light", "echo"], split=None)
    assert set(both.rows) == set(range(8, 16)) and len(list(both)) == 8


def test_a_corpus_and_its_datasets_travel_to_other_processes(opened: geocorpus.Corpus) -> None:
    again = pickle.loads(pickle.dumps(opened))  # noqa: S301
    assert type(again) is geocorpus.Corpus and again.manifest == opened.manifest
    dataset = opened.torch_dataset(["light"])
    _ = dataset[0]
    copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301
    assert torch.equal(copy[3]["light"], dataset[3]["light"])
    assert len(pickle.dumps(dataset)) < 20_000


REFUSALS = [
    ({"modalities": ["lihgt"]}, "unknown modality 'lihgt'; did you mean 'light'?"),
    ({"modalities": "lihgt"}, "unknown modality 'lihgt'; did you mean 'light'?"),
    ({"modalities": []}, "no modality is asked for; name at least one, or leave `modalities` out for all of them."),
    ({"split": "tain"}, "unknown split 'tain'; did you mean 'train'?"),
    ({"split": "test"}, "the corpus in {folder} has no test rows; choose another split."),
    ({"bands": {"light": ["rde"]}}, "unknown band of light 'rde'; did you mean 'red'?"),
    ({"bands": {"light": []}}, "no band of light is asked for; name at least one, or leave it out for all of them."),
    ({"bands": {"lihgt": ["red"]}}, "unknown modality in bands 'lihgt'; did you mean 'light'?"),
    ({"modalities": ["echo"], "bands": {"light": ["red"]}}, "unknown modality in bands 'light'; known are: echo."),
    ({"values": "fysical"}, "unknown kind of values 'fysical'; did you mean 'physical'?"),
]


@pytest.mark.parametrize(("arguments", "sentence"), REFUSALS)
def test_what_there_is_not_is_refused_in_a_sentence(
    opened: geocorpus.Corpus, arguments: dict[str, Any], sentence: str
) -> None:  # fmt: skip
    with pytest.raises(Fatal) as refusal:
        opened.torch_dataset(**arguments)
    assert str(refusal.value) == sentence.format(folder=opened.folder)


@pytest.mark.parametrize(
    "arguments",
    [{"block_rows": 0}, {"mix_blocks": 0}, {"seed": -1}, {"rank": 2, "ranks": 2}, {"rank": -1}, {"ranks": 0}],
)
def test_a_shuffle_that_cannot_be_is_refused(opened: geocorpus.Corpus, arguments: dict[str, int]) -> None:
    with pytest.raises(Fatal, match=r"must be at least|there is no process"):
        opened.torch_dataset(["light"]).shuffled(**arguments)


def test_a_mask_and_a_modality_of_one_name_are_refused(tmp_path: Path) -> None:
    item = geocorpus.Modality("snow", "Snow", (geocorpus.Band("a"),), "uint8", 255)
    other = geocorpus.Modality("snow_valid", "Snow", (geocorpus.Band("a"),), "uint8", 255)
    make_manifest(tmp_path, 4, SIZE_PX)
    with pytest.raises(Fatal, match="the mask of 'snow' would be called as 'snow_valid' is; take two datasets"):
        ChipDataset(Corpus.create(tmp_path, [item, other]), ["snow", "snow_valid"])


def test_a_corpus_in_a_bucket_is_read_by_spawned_workers_and_refused_to_forked_ones(tmp_path: Path) -> None:
    with service():
        folder = tmp_path / "corpus"
        folder.mkdir()
        make_corpus(folder, modalities=ALL[:1], store_url=f"s3://{BUCKET}/{tmp_path.name}/corpus.zarr")
        opened = geocorpus.open(folder)
        dataset = opened.torch_dataset(values="stored")
        expected = [int(opened.read("light", slice(row, row + 1)).sum()) for row in dataset.rows.tolist()]
        assert [int(sample["light"].numpy().sum()) for sample in dataset] == expected
        with pytest.raises(Fatal, match='cannot be read by forked workers.*multiprocessing_context="spawn"'):
            list(loader(dataset, "fork", 1))
        shuffled = dataset.shuffled(block_rows=3)
        assert isinstance(shuffled, ShuffledChips)
        assert sorted(rows_in(iter(loader(shuffled, "spawn", 1)))) == dataset.rows.tolist()


def test_a_batch_from_a_bucket_is_fetched_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neighbours come by one request a layer, whatever their order."""
    asked, ranges = list[int](), BucketStore.ranges

    def counted(store: BucketStore, key: str, spans: Sequence[tuple[int, int]]) -> Any:
        asked.append(len(spans))
        return ranges(store, key, spans)

    monkeypatch.setattr(BucketStore, "ranges", counted)
    local, far = tmp_path / "local", tmp_path / "far"
    local.mkdir()
    far.mkdir()
    make_corpus(local)
    with service():
        make_corpus(far, store_url=f"s3://{BUCKET}/{tmp_path.name}/batch.zarr")
        rows, names = [5, 0, 7, 2, 12], ["light", "ground", "weather"]
        batch, expected = (geocorpus.open(place).torch_dataset(names, None).batch(rows) for place in (far, local))
    assert all(torch.equal(batch[name], expected[name]) for name in names)
    assert sorted(asked) == [1, 1, 4, 4]
