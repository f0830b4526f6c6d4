"""A corpus that grows: old rows, their bytes and their marks stay; a kill at any point ends in the same bytes."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xarray as xr

from pipeline import manifest as manifests
from pipeline.corpus import Corpus
from pipeline.corpus_folder import MANIFEST, STATISTICS, place_of
from pipeline.errors import Fatal
from pipeline.manifest import Manifest
from pipeline.modality import Category
from pipeline.rows import PIECE_ROWS, GatheredRows, Source
from pipeline.seal import Seal, remove
from pipeline.store import FolderStore
from tests import buckets
from tests.pipeline.chips import COVER, MODALITIES, OPTICAL, make_block, make_chip, make_manifest
from tests.pipeline.own_tables import make_own_manifest, own_table

SIZE_PX, SHARD_ROWS = 16, 8
OLD, NEW = 21, 40  # the last of three shards had 5 rows


def new_rows(start: int, stop: int, size_px: int = SIZE_PX) -> GatheredRows:
    chips = [
        replace(make_chip(number, size_px), split="val" if number % 5 == 0 else "train")
        for number in range(start, stop)
    ]
    table = pa.concat_tables([manifests.SCHEMA.empty_table(), *manifests._tables(chips)]).combine_chunks()
    return GatheredRows([Source(table, np.arange(len(table)))], manifests.SCHEMA)


def grown(folder: Path, start: int = OLD, stop: int = NEW, size_px: int = SIZE_PX) -> Manifest:
    """Extend the manifest in `folder`, which breaks the seal."""
    remove(folder)
    longer = Manifest.read(folder / MANIFEST).extended(new_rows(start, stop, size_px), 0)
    longer.write(folder / MANIFEST)
    return Manifest.read(folder / MANIFEST)


def block_of(corpus: Corpus, name: str, start: int, stop: int) -> np.ndarray:
    """Values that follow from the row alone."""
    modality = corpus.modality(name)
    return np.concatenate([make_block(modality, 1, SIZE_PX, row) for row in range(start, stop)])


def fill(corpus: Corpus) -> None:
    for shard, names in corpus.missing().items():
        for name in names:
            corpus.write(shard, name, block_of(corpus, name, shard.start, shard.stop), {shard.start: "because"})


def finished(folder: Path, url: str | None = None) -> Corpus:
    make_manifest(folder, OLD, SIZE_PX)
    corpus = Corpus.create(folder, MODALITIES, SHARD_ROWS, url)
    fill(corpus)
    corpus.finalize()
    return corpus


def files(folder: Path) -> dict[str, bytes]:
    kept = {path: path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()}
    return {str(name): path.read_bytes() for path, name in kept.items() if not name.name.endswith(".digest.json")}


def test_old_rows_stay_first_and_every_state_keeps_its_digest(tmp_path: Path) -> None:
    old = make_manifest(tmp_path, OLD, SIZE_PX)
    once = grown(tmp_path)
    twice = grown(tmp_path, NEW, 50)
    assert [state.rows for state in twice.ancestors] == [OLD, NEW]
    assert twice.lineage == {old.digest, once.digest, twice.digest} and len(twice.lineage) == 3
    assert list(twice)[:OLD] == list(old) and list(twice)[:NEW] == list(once)
    assert twice.at(old.digest) == old and list(twice.at(once.digest)) == list(once)
    assert twice.at(once.digest).ancestors == once.ancestors and twice.at("other") is None
    assert Manifest(twice._rows).digest == twice.digest, "the digest is that of the rows alone"
    assert sorted(set(twice.column("split", slice(OLD, NEW)).tolist())) == ["train", "val"]
    assert twice.column("split", slice(OLD, NEW)).tolist() == sorted(twice.column("split", slice(OLD, NEW)))
    twice.refuse_false_ancestors()
    assert [piece[0].tolist() for piece in twice.at(old.digest).pieces("id")] == [old.column("id").tolist()]


def test_a_manifest_that_never_grew_is_the_same_file(tmp_path: Path) -> None:
    manifest = make_manifest(tmp_path, 23, SIZE_PX)
    assert manifest.ancestors == () and b"geocorpus:ancestors" not in (tmp_path / MANIFEST).read_bytes()


def test_rows_across_the_border_of_long_manifests(tmp_path: Path) -> None:
    long = Manifest.of_frame(pd.concat([make_manifest(tmp_path, 50, SIZE_PX).frame] * 200))
    longer = long.extended(new_rows(50, 90), 0)
    longer.write(tmp_path / MANIFEST)
    again = Manifest.read(tmp_path / MANIFEST)
    assert again.digest == longer.digest == Manifest(again._rows).digest and len(again) == len(long) + 40 > PIECE_ROWS
    assert again.chips(len(long) - 3, len(long) + 3) == longer.chips(len(long) - 3, len(long) + 3)
    assert again.at(long.digest).column("id").tolist() == long.column("id").tolist()


def test_what_is_no_extension_is_refused(tmp_path: Path) -> None:
    manifest = make_manifest(tmp_path, OLD, SIZE_PX)
    for rows, words in ((new_rows(20, 25), "already"), (new_rows(30, 33, 32), "32 px")):
        with pytest.raises(Fatal, match=words):
            manifest.extended(rows, 0)
    longer = manifest.extended(new_rows(OLD, NEW), 0)
    false = Manifest(longer._rows, ancestors=[replace(longer.ancestors[0], digest="0" * 64)])
    with pytest.raises(Fatal, match="not those that it grew from"):
        false.refuse_false_ancestors()


def test_an_extension_by_nothing_is_the_same_corpus(tmp_path: Path) -> None:
    corpus = finished(tmp_path)
    manifest = grown(tmp_path, OLD, OLD)
    assert len(manifest.ancestors) == 1 and manifest.digest == corpus.manifest.digest
    assert not Corpus.create(tmp_path, MODALITIES, SHARD_ROWS).missing()


def test_until_it_is_laid_out_the_corpus_is_what_it_was(tmp_path: Path) -> None:
    finished(tmp_path)
    before = files(tmp_path / "corpus.zarr")
    grown(tmp_path)
    corpus = Corpus.open(tmp_path)
    assert len(corpus.manifest) == OLD and len(corpus.whole) == NEW and not corpus.missing()
    assert [shard.index for shard in corpus.ahead().missing()] == [2, 3, 4]
    corpus.finalize()
    assert files(tmp_path / "corpus.zarr") == before


def test_growing_keeps_what_is_there_and_lacks_the_rest(tmp_path: Path) -> None:
    finished(tmp_path)
    before = files(tmp_path)
    grown(tmp_path)
    corpus = Corpus.create(tmp_path, MODALITIES, SHARD_ROWS)
    assert {shard.index: names for shard, names in corpus.missing().items()} == {
        index: tuple(sorted(item.name for item in MODALITIES)) for index in (2, 3, 4)
    }
    np.testing.assert_array_equal(corpus.read("optical", slice(0, 16)), block_of(corpus, "optical", 0, 16))
    with pytest.raises(Fatal, match="not finished"):
        corpus.read("optical", slice(0, OLD))
    assert not (tmp_path / STATISTICS).exists(), "it told of the shorter corpus"
    fill(corpus)
    corpus.finalize()
    after = files(tmp_path)
    kept = [name for name in before if "/c/0/" in name and name.split("/")[1] in ("optical", "cover", "climate")]
    kept += [f"ledger/{item.name}/0000{index}.json" for item in MODALITIES for index in (0, 1)]
    assert len(kept) >= 9 and all(before[name] == after[name] for name in kept)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = xr.open_zarr(tmp_path / "corpus.zarr")
    assert data.sizes["chip"] == NEW and data["chip"].values.tolist() == corpus.manifest.column("id").tolist()
    np.testing.assert_array_equal(corpus.read("cover", slice(0, NEW)), block_of(corpus, "cover", 0, NEW))


def test_a_grown_store_is_the_store_of_the_longer_manifest(tmp_path: Path) -> None:
    """But for the marks of kept shards, which name the manifest that they were written for."""
    finished(tmp_path / "grown")
    longer = grown(tmp_path / "grown")
    longer.write(tmp_path / "fresh" / MANIFEST)
    for name in ("grown", "fresh"):
        corpus = Corpus.create(tmp_path / name, MODALITIES, SHARD_ROWS)
        fill(corpus)
        corpus.finalize()
    assert files(tmp_path / "grown/corpus.zarr") == files(tmp_path / "fresh/corpus.zarr")
    assert files(tmp_path / "grown")[STATISTICS] == files(tmp_path / "fresh")[STATISTICS]


def cut_after(puts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies before its next write but `puts`."""
    original, left = FolderStore.put, iter(range(puts))

    def put(self: FolderStore, key: str, *parts: bytes) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        original(self, key, *parts)

    monkeypatch.setattr(FolderStore, "put", put)


def test_killed_at_any_write_and_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished(tmp_path / "whole")
    grown(tmp_path / "whole")
    Corpus.create(tmp_path / "whole", MODALITIES, SHARD_ROWS)
    finished(tmp_path / "killed")
    grown(tmp_path / "killed")
    kills = 0
    while True:
        with monkeypatch.context() as patched:
            cut_after(kills, patched)
            try:
                Corpus.create(tmp_path / "killed", MODALITIES, SHARD_ROWS)
                break
            except KeyboardInterrupt:
                kills += 1
    assert kills > 10
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def test_what_a_short_shard_held_is_there_to_be_taken_over(tmp_path: Path) -> None:
    finished(tmp_path)
    grown(tmp_path)
    corpus = Corpus.create(tmp_path, MODALITIES, SHARD_ROWS)
    entry = corpus.outgrown("optical", corpus.shards[2])
    assert entry is not None and entry.rows == (16, OLD)
    np.testing.assert_array_equal(corpus.held(entry), block_of(corpus, "optical", 16, OLD))
    assert corpus.outgrown("optical", corpus.shards[1]) is None, "which is finished"
    assert corpus.outgrown("optical", corpus.shards[3]) is None, "which has never been written"
    path = corpus.object_path("optical", corpus.shards[2])
    path.write_bytes(b"x" + path.read_bytes()[1:])
    assert corpus.outgrown("optical", corpus.shards[2]) is None, "which is damaged"


def test_an_earlier_state_is_the_corpus_of_then(tmp_path: Path) -> None:
    """Also after its last shard was filled up: the same rows, reasons and statistics."""
    old = finished(tmp_path)
    then = {name: old.statistics(name) for name in old.modalities}
    missing = {name: [dict(entry.missing) for entry in old.entries(name)] for name in old.modalities}
    grown(tmp_path)
    fill(Corpus.create(tmp_path, MODALITIES, SHARD_ROWS))
    state = Corpus.open(tmp_path, old.manifest.digest)
    assert len(state.manifest) == OLD and not state.missing() and len(state.shards) == 3
    assert {name: state.statistics(name) for name in state.modalities} == then
    assert {name: [dict(entry.missing) for entry in state.entries(name)] for name in state.modalities} == missing
    assert state.statistics("optical") != Corpus.open(tmp_path).statistics("optical")
    np.testing.assert_array_equal(state.read("cover", slice(0, OLD)), block_of(state, "cover", 0, OLD))
    assert pickle.loads(pickle.dumps(state)).manifest == old.manifest  # noqa: S301
    assert [shard.index for shard in state.restricted_to([0, 2]).missing(["cover"])] == [1]
    with pytest.raises(Fatal, match="never had the manifest"):
        Corpus.open(tmp_path, "f" * 64)


def test_growing_twice_and_with_another_layer_at_once(tmp_path: Path) -> None:
    make_manifest(tmp_path, OLD, SIZE_PX)
    fill(Corpus.create(tmp_path, [OPTICAL], SHARD_ROWS))
    grown(tmp_path)
    corpus = Corpus.create(tmp_path, [OPTICAL, COVER], SHARD_ROWS)
    assert [names for names in corpus.missing().values()] == [("cover",)] * 2 + [("cover", "optical")] * 3
    fill(corpus)
    grown(tmp_path, NEW, NEW + 1)
    corpus = Corpus.create(tmp_path, [OPTICAL, COVER], SHARD_ROWS)
    assert [shard.index for shard in corpus.missing()] == [5]
    fill(corpus)
    assert not Corpus.open(tmp_path).missing()
    for name in ("optical", "cover"):
        np.testing.assert_array_equal(corpus.read(name, slice(0, NEW + 1)), block_of(corpus, name, 0, NEW + 1))


def test_an_unfinished_corpus_may_grow(tmp_path: Path) -> None:
    make_manifest(tmp_path, OLD, SIZE_PX)
    corpus = Corpus.create(tmp_path, [OPTICAL], SHARD_ROWS)
    corpus.write(corpus.shards[1], "optical", block_of(corpus, "optical", 8, 16), {})
    grown(tmp_path)
    assert [shard.index for shard in Corpus.create(tmp_path, [OPTICAL], SHARD_ROWS).missing()] == [0, 2, 3, 4]


def test_new_classes_follow_the_old_ones(tmp_path: Path) -> None:
    more = COVER.with_categories([*COVER.categories, Category(7, "Ice")])
    old = finished(tmp_path)
    with pytest.raises(Fatal, match="another specification"):
        Corpus.create(tmp_path, [more], SHARD_ROWS)
    grown(tmp_path)
    corpus = Corpus.create(tmp_path, [OPTICAL, more], SHARD_ROWS)
    assert [shard.index for shard in corpus.missing(["cover"])] == [2, 3, 4], "old marks stay"
    fill(corpus)
    again = Corpus.open(tmp_path)
    assert again.modality("cover") == more and not again.missing()
    counts = again.statistics("cover")["all"][0].histogram
    train = again.read("cover", slice(0, NEW))[again.manifest.column("split") == "train"]
    assert counts == tuple(int((train == code).sum()) for code in more.codes) and counts[-1] > 0
    assert len(again.at(old.manifest.digest).statistics("cover")["all"][0].histogram) == 3
    assert again.at(old.manifest.digest).modality("cover") == COVER
    attributes = json.loads((tmp_path / "corpus.zarr/cover/zarr.json").read_text())["attributes"]
    assert attributes["flag_values"] == [10, 20, 80, 7]
    for changed in (COVER, COVER.with_categories([Category(7, "Ice"), *COVER.categories])):
        with pytest.raises(Fatal, match="another specification"):
            Corpus.create(tmp_path, [changed], SHARD_ROWS)


def test_another_manifest_is_refused_as_before(tmp_path: Path) -> None:
    finished(tmp_path)
    remove(tmp_path)
    make_manifest(tmp_path / "other", NEW, SIZE_PX).write(tmp_path / MANIFEST)
    with pytest.raises(Fatal, match="another manifest"):
        Corpus.create(tmp_path, MODALITIES, SHARD_ROWS)
    with pytest.raises(Fatal, match="another manifest"):
        Corpus.open(tmp_path)


@pytest.fixture(scope="module")
def s3() -> Iterator[buckets.S3]:
    with buckets.service() as service:
        yield service


def test_in_a_bucket(s3: buckets.S3, tmp_path: Path) -> None:
    url = f"s3://{buckets.BUCKET}/grown/corpus.zarr"
    finished(tmp_path, url)
    kept = {key: value for key, value in s3.objects("grown/corpus.zarr").items() if key.startswith("optical/c/")}
    grown(tmp_path)
    corpus = Corpus.create(tmp_path, MODALITIES, SHARD_ROWS)
    assert [shard.index for shard in corpus.missing()] == [2, 3, 4]
    fill(corpus)
    corpus.finalize()
    now = s3.objects("grown/corpus.zarr")
    assert all(now[key] == value for key, value in kept.items() if not key.startswith("optical/c/2/"))
    finished(tmp_path / "disk")
    grown(tmp_path / "disk")
    other = Corpus.create(tmp_path / "disk", MODALITIES, SHARD_ROWS)
    fill(other)
    other.finalize()
    assert now == files(tmp_path / "disk/corpus.zarr")


def own_rows(own: pa.Table) -> GatheredRows:
    """New rows with columns of their owner."""
    plain = new_rows(OLD, OLD + len(own))
    schema = pa.schema([*manifests.SCHEMA, *own.schema])
    return GatheredRows([*plain._sources, Source(own, np.arange(len(own)))], schema)


def test_columns_of_the_owner_go_on(tmp_path: Path) -> None:
    old = make_own_manifest(tmp_path, OLD, SIZE_PX)
    old.extended(own_rows(own_table(6).drop_columns(["crop"])), 0).write(tmp_path / MANIFEST)
    longer = Manifest.read(tmp_path / MANIFEST)
    longer.refuse_false_ancestors()
    assert longer.own_columns == old.own_columns and list(longer)[:OLD] == list(old)
    assert longer.column("crop").tolist()[:OLD] == old.column("crop").tolist()
    assert longer.column("crop").tolist()[OLD:] == [None] * 6
    assert {chip.own["sown"] for chip in list(longer)[OLD:]} == set(own_table(6).column("sown").to_pylist())
    for own, words in ((own_table(3).append_column("new", [["a"] * 3]), "'new' .string."),
                       (pa.table({"plot": ["a", "b", "c"]}), "'plot' .string.")):  # fmt: skip
        with pytest.raises(Fatal, match=words):
            old.extended(own_rows(own.combine_chunks()), 0)


def test_growing_breaks_the_seal(tmp_path: Path) -> None:
    finished(tmp_path)
    assert (tmp_path / "seal.json").exists()
    remove(tmp_path)
    grown(tmp_path)
    Seal.of(tmp_path, place_of(tmp_path), Corpus.open(tmp_path).ledger, ["cover"], 3).write(tmp_path)
    Corpus.create(tmp_path, MODALITIES, SHARD_ROWS)
    assert not (tmp_path / "seal.json").exists()
    fill(Corpus.open(tmp_path))
    Corpus.open(tmp_path).finalize()
    assert (tmp_path / "seal.json").exists() and not Corpus.open(tmp_path).missing()
