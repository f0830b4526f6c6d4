"""The store: readable by xarray, whole-shard writes, refusals, resume; nothing absent passes for data."""

from __future__ import annotations

import pickle
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.modality import Band, Modality
from tests.pipeline.chips import CLIMATE, COVER, MODALITIES, OPTICAL, make_block, make_manifest

SIZE_PX = 16


def fill(corpus: Corpus, names: tuple[str, ...] | None = None) -> dict[str, np.ndarray]:
    """Write everything missing; returns what was written, a whole array per modality."""
    for shard, missing in corpus.missing(names).items():
        for name in missing:
            block = make_block(corpus.modality(name), len(shard), SIZE_PX, shard.index)
            corpus.write(shard, name, block, {shard.start: "because"})
    return {
        name: np.concatenate([make_block(modality, len(shard), SIZE_PX, shard.index) for shard in corpus.shards])
        for name, modality in corpus.modalities.items()
    }


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    make_manifest(tmp_path, 21, SIZE_PX)
    return Corpus.create(tmp_path, MODALITIES, shard_rows=8)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_what_is_written_is_read(corpus: Corpus) -> None:
    written = fill(corpus)
    for name, block in written.items():
        np.testing.assert_array_equal(corpus.read(name, slice(0, 21)), block)
        np.testing.assert_array_equal(corpus.read(name, slice(5, 17)), block[5:17])
        assert all(corpus.verify(name, shard) for shard in corpus.shards)
    assert corpus.missing() == {}


def test_a_corpus_that_is_not_there_yet_says_what_is_next(tmp_path: Path) -> None:
    with pytest.raises(
        Fatal, match=r"there is no corpus in .*; check the path, or begin one with `geocorpus build`\.$"
    ):
        Corpus.open(tmp_path / "nowhere")
    (tmp_path / "locations.parquet").touch()
    with pytest.raises(Fatal, match=f"has no manifest yet; run `geocorpus anchor {tmp_path}` first"):
        Corpus.open(tmp_path)
    make_manifest(tmp_path, 3, SIZE_PX)
    with pytest.raises(Fatal, match=f"has no arrays yet; run `geocorpus export {tmp_path}` first"):
        Corpus.open(tmp_path)


def test_a_shard_is_the_same_object_whoever_compressed_its_chips(corpus: Corpus) -> None:
    shard, codec = corpus.shards[1], corpus.chip_codec(OPTICAL.name)
    block = make_block(OPTICAL, len(shard), SIZE_PX, 1)
    block[2] = OPTICAL.fill
    data = corpus.write(shard, OPTICAL.name, block, {})
    assert codec is not None and corpus.chip_codec(CLIMATE.name) is None
    some = {row: codec.compressed(block[row - shard.start]) for row in list(shard.rows)[:5]}
    assert corpus.write(shard, OPTICAL.name, block, {}, compressed=some) == data
    assert some[shard.start + 2] == b"" and corpus.verify(OPTICAL.name, shard)


def test_specifications_come_from_the_store(corpus: Corpus) -> None:
    assert Corpus.open(corpus.folder).modalities == {modality.name: modality for modality in MODALITIES}


def test_xarray_opens_it_with_names_units_and_classes(corpus: Corpus) -> None:
    written = fill(corpus)
    corpus.finalize()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = xr.open_zarr(corpus.folder / "corpus.zarr")
    assert data["optical"].dims == ("chip", "band_optical", "y", "x")
    assert data["band_optical"].values.tolist() == ["red", "green", "cirrus"]
    assert data["climate"].attrs["band_units"] == ["K", "m"]
    assert data["cover"].attrs["flag_values"] == [10, 20, 80]
    assert data["cover"].attrs["flag_meanings"] == "tree_cover shrub_low water"
    assert set(data.coords) >= {"chip", "longitude", "latitude", "time", "split", "level"}
    chips = list(corpus.manifest)
    assert data["time"].values[3] == np.datetime64(chips[3].acquisition.date.replace(tzinfo=None, microsecond=0), "ns")
    for modality in MODALITIES:
        decoded = data[modality.name].values
        np.testing.assert_array_equal(np.isnan(decoded), ~modality.valid(written[modality.name]))
        np.testing.assert_allclose(decoded, modality.physical(written[modality.name]), rtol=1e-6)


def test_statistics_count_train_rows_by_group(corpus: Corpus) -> None:
    written = fill(corpus)
    train = corpus.manifest.column("split") == "train"
    for level, bands in corpus.statistics("optical").items():
        rows = train & (corpus.manifest.column("level") == level)
        values = written["optical"][rows, 1].astype(np.float64)
        values = values[values != 0]
        assert bands[1].count == values.size
        np.testing.assert_allclose([bands[1].mean, bands[1].std], [values.mean(), values.std()], rtol=1e-12)


def test_an_unfinished_shard_is_an_error_not_nodata(corpus: Corpus) -> None:
    shard = corpus.shards[0]
    corpus.write(shard, "cover", make_block(COVER, len(shard), SIZE_PX, 0), {})
    corpus.read("cover", shard.slice)
    with pytest.raises(Fatal, match="not finished"):
        corpus.read("cover", slice(0, 9))


def test_a_ledger_without_its_store_counts_for_nothing(corpus: Corpus) -> None:
    written = fill(corpus)
    shutil.rmtree(corpus.folder / "corpus.zarr")
    again = Corpus.create(corpus.folder, MODALITIES, shard_rows=8)
    assert set(again.missing()) == set(again.shards)
    fill(again)
    np.testing.assert_array_equal(again.read("optical", slice(0, 21)), written["optical"])


def test_a_ledger_of_another_manifest_counts_for_nothing(corpus: Corpus) -> None:
    fill(corpus)
    shutil.rmtree(corpus.folder / "corpus.zarr")
    make_manifest(corpus.folder, 21, SIZE_PX, seed=1)
    again = Corpus.create(corpus.folder, MODALITIES, shard_rows=8)
    assert set(again.missing()) == set(again.shards)
    assert list(again.entries("optical")) == []


def test_a_lost_object_is_missing_again(corpus: Corpus) -> None:
    fill(corpus)
    lost = corpus.shards[1]
    corpus.object_path("optical", lost).unlink()
    again = Corpus.open(corpus.folder)
    assert again.missing() == {lost: ("optical",)}
    with pytest.raises(Fatal, match="not finished"):
        again.read("optical", lost.slice)


def test_what_another_process_finishes_or_undoes_is_seen(corpus: Corpus) -> None:
    fill(corpus)
    worker = Corpus.open(corpus.folder)
    lost = worker.shards[1]
    worker.ledger.path("optical", lost.index).unlink()
    assert corpus.missing() == {lost: ("optical",)}
    worker.write(lost, "optical", make_block(OPTICAL, len(lost), SIZE_PX, 1), {}, {"tried": 3})
    assert corpus.missing() == {}
    assert [entry.quality for entry in corpus.entries("optical")] == [{}, {"tried": 3}, {}]


def test_a_damaged_object_is_found(corpus: Corpus) -> None:
    fill(corpus)
    path = corpus.object_path("optical", corpus.shards[1])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert not corpus.verify("optical", corpus.shards[1])
    assert corpus.verify("optical", corpus.shards[0])


def test_an_entirely_absent_shard_is_recorded(corpus: Corpus) -> None:
    shard = corpus.shards[2]
    nothing = np.full((len(shard), *OPTICAL.shape(SIZE_PX)), 0, dtype=np.uint16)
    entry = corpus.write(shard, "optical", nothing, {row: "no scene" for row in shard.rows})
    assert entry.missing == {row: "no scene" for row in shard.rows}
    np.testing.assert_array_equal(corpus.read("optical", shard.slice), nothing)
    assert corpus.verify("optical", shard)


def test_creating_again_changes_nothing(corpus: Corpus) -> None:
    fill(corpus)
    before = snapshot(corpus.folder)
    Corpus.create(corpus.folder, MODALITIES, shard_rows=8)
    assert snapshot(corpus.folder) == before


def test_the_same_work_is_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_manifest(tmp_path / name, 21, SIZE_PX)
        corpus = Corpus.create(tmp_path / name, MODALITIES, shard_rows=8)
        fill(corpus)
        corpus.finalize()
    assert snapshot(tmp_path / "a") == snapshot(tmp_path / "b")


def test_a_modality_added_later_touches_no_existing_file(corpus: Corpus) -> None:
    fill(corpus)
    before = snapshot(corpus.folder)
    novel = Modality(name="novel", title="Novel", bands=(Band("n"),), dtype="int16", nodata=-1)
    corpus = Corpus.create(corpus.folder, [novel], shard_rows=8)
    fill(corpus, ("novel",))
    after = snapshot(corpus.folder)
    assert {path: after[path] for path in before} == before
    assert any(path.startswith("corpus.zarr/novel/") for path in after)


def test_the_same_layers_anew_change_nothing(corpus: Corpus) -> None:
    before = snapshot(corpus.folder)
    anew = pickle.loads(pickle.dumps(MODALITIES))  # noqa: S301 (our own; their NaN is another object)
    assert set(Corpus.create(corpus.folder, anew, shard_rows=8).modalities.values()) == set(MODALITIES)
    assert snapshot(corpus.folder) == before


def test_a_store_of_another_manifest_is_refused_and_untouched(corpus: Corpus) -> None:
    make_manifest(corpus.folder, 20, SIZE_PX)
    before = snapshot(corpus.folder)
    with pytest.raises(Fatal, match="another manifest"):
        Corpus.create(corpus.folder, MODALITIES, shard_rows=8)
    with pytest.raises(Fatal, match="another manifest"):
        Corpus.open(corpus.folder)
    assert snapshot(corpus.folder) == before


@pytest.mark.parametrize(
    ("changed", "words"),
    [(replace(CLIMATE, title="other"), "another specification"), (replace(CLIMATE, name="time"), "uses that name")],
)
def test_a_clashing_modality_is_refused(corpus: Corpus, changed: Modality, words: str) -> None:
    with pytest.raises(Fatal, match=words):
        corpus.add(changed)


def test_wrong_blocks_are_refused(corpus: Corpus) -> None:
    shard = corpus.shards[0]
    right = make_block(OPTICAL, len(shard), SIZE_PX, 0)
    for wrong in (right[:-1], right.astype(np.int32), right[:, :2]):
        with pytest.raises(Fatal, match="but the store holds"):
            corpus.write(shard, "optical", wrong, {})
    with pytest.raises(Fatal, match="did you mean 'optical'"):
        corpus.modality("optcal")


def test_a_half_made_store_is_made_anew(tmp_path: Path) -> None:
    make_manifest(tmp_path, 5, SIZE_PX)
    (tmp_path / ".corpus.zarr.tmp" / "chip").mkdir(parents=True)
    (tmp_path / ".corpus.zarr.tmp" / "chip" / "zarr.json").write_text("{")
    corpus = Corpus.create(tmp_path, MODALITIES, shard_rows=8)
    fill(corpus)
    assert corpus.missing() == {}


def test_what_one_shard_lacks_is_what_the_whole_list_says_of_it(corpus: Corpus) -> None:
    fill(corpus, (COVER.name,))
    shutil.rmtree(corpus.object_path(COVER.name, corpus.shards[1]).parent.parent)
    names = [modality.name for modality in MODALITIES]
    missing = Corpus.open(corpus.folder).missing(names)
    assert {shard: corpus.lacking(shard, names) for shard in corpus.shards} == missing
    assert COVER.name in missing[corpus.shards[1]] and COVER.name not in missing[corpus.shards[0]]


def test_one_shard_is_finished_exactly_if_the_list_has_it(corpus: Corpus) -> None:
    def told(one: Corpus) -> dict[str, set[int]]:
        return {name: {at for at in range(-1, 5) if one.is_finished(name, at)} for name in one.modalities}

    def listed(one: Corpus) -> dict[str, set[int]]:
        return {name: set(one.finished(name)) for name in one.modalities}

    assert told(corpus) == listed(corpus) == {name: set() for name in corpus.modalities}
    fill(corpus)
    assert told(corpus) == listed(corpus)
    corpus.ledger.path("cover", 2).unlink()
    corpus.object_path("optical", corpus.shards[1]).unlink()
    opened = Corpus.open(corpus.folder)
    assert told(opened) == listed(Corpus.open(corpus.folder)) == told(opened)
    assert told(opened)["cover"] == {0, 1} and told(opened)["optical"] == {0, 2}
    assert told(corpus)["cover"] == {0, 1}
    some = opened.restricted_to([0, 1])
    assert told(some) == listed(opened.restricted_to([0, 1]))


def test_reading_looks_at_no_entry_of_another_shard(corpus: Corpus) -> None:
    fill(corpus)
    corpus.ledger.path("optical", 2).write_text("damaged")
    opened = Corpus.open(corpus.folder)
    assert opened.read("optical", slice(0, 16)).shape[0] == 16
    with pytest.raises(Fatal, match="00002.json cannot be read"):
        opened.read("optical", slice(15, 17))


@pytest.mark.parametrize("name", ["x", "y", "spatial_ref"])
def test_a_layer_with_a_name_of_the_grid_is_refused(tmp_path, name):
    make_manifest(tmp_path, 3)
    with pytest.raises(Fatal, match="a chip's grid has it"):
        Corpus.create(tmp_path, [replace(OPTICAL, name=name)], 2)
