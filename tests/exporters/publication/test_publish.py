"""What is published opens and verifies, holds what was asked for and nothing else, and is whole or not there."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import geocorpus
from exporters.publication import copying
from exporters.publication.limits import size_of
from pipeline import seal, verification
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.modality import Category
from pipeline.own_columns import OUTLINE
from pipeline.progress import Silent
from tests.exporters.publication.published import TERMS, own_corpus, publish
from tests.pipeline.chips import COVER, MODALITIES
from tests.pipeline.damage import finished_corpus, flip
from tests.pipeline.own_tables import KINDS
from tests.pipeline.test_growth import fill, finished, grown

PUBLISHED = {
    "CITATION.cff", "LICENCES.md", "README.md", "SHA256SUMS", "collection.json", "corpus.zarr", "croissant.json",
    "items.parquet", "ledger", "manifest.digest.json", "manifest.parquet", "seal.json", "statistics.json",
}  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return own_corpus(tmp_path_factory.mktemp("publish") / "corpus")


@pytest.fixture(scope="module")
def folder(corpus: Corpus) -> Path:
    publish(corpus, corpus.folder.parent / "data set")
    return corpus.folder.parent / "data set"


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_opens_with_the_same_values_and_licences(corpus, folder):
    copy = geocorpus.open(folder)
    for name in corpus.modalities:
        assert np.array_equal(copy.read(name, slice(0, 9)), corpus.read(name, slice(0, 9)), equal_nan=True)
        assert copy.modalities[name].licence == TERMS[name]
    assert xr.open_zarr(folder / "corpus.zarr")["cover"].attrs["license"] == "ODbL-1.0"
    assert copy.statistics("optical") == corpus.statistics("optical")


def test_it_verifies_and_is_sealed(folder):
    found = verification.verify(folder, Silent())
    assert found.faults == [] and found.seal is not None and found.unfinished == 0


def test_nothing_else_is_in_it(folder):
    assert {path.name for path in folder.iterdir()} == PUBLISHED
    assert sorted(path.name for path in folder.parent.iterdir()) == ["corpus", "data set"]


def test_nothing_in_it_names_the_owners_columns_machine_or_folder(corpus, folder):
    texts = {name: content for name, content in files(folder).items() if b"/c/" not in name.encode()}
    secrets = [b"jane-at-work", str(corpus.folder).encode(), b"yield_t", b"irrigated", b"maize"]
    assert [(name, word) for name, content in texts.items() for word in secrets if word in content] == []
    assert geocorpus.open(folder).manifest.own_columns == ()
    assert corpus.manifest.own_columns == tuple(KINDS)


def test_columns_that_are_asked_for_are_published(corpus, tmp_path):
    said = publish(corpus, tmp_path / "out", columns=("crop", "sown"))
    manifest = Corpus.open(tmp_path / "out").manifest
    assert manifest.own_columns == ("crop", "sown")
    assert manifest.column("crop").tolist() == corpus.manifest.column("crop").tolist()
    assert "not published (--column NAME publishes one): plot, yield_t, irrigated, seen, field." in said
    assert verification.verify(tmp_path / "out", Silent()).faults == []


def test_a_corpus_whose_columns_are_all_published_keeps_its_identity(corpus, tmp_path):
    said = publish(corpus, tmp_path / "out", columns=tuple(KINDS))
    assert Corpus.open(tmp_path / "out").manifest.digest == corpus.manifest.digest
    assert "not published" not in said and corpus.manifest.own_type("field") == OUTLINE


def test_checksums_are_those_of_all_files(folder):
    listed = {line.split("  ", 1)[1] for line in (folder / "SHA256SUMS").read_text().splitlines()}
    assert listed == files(folder).keys() - {"SHA256SUMS"}
    subprocess.run(["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"], cwd=folder, check=True)


def test_the_size_that_is_told_beforehand_is_no_less(corpus, folder):
    there = files(folder)
    assert len(there) <= size_of(corpus).files <= len(there) + 12


def test_links_take_no_space_and_give_the_same_bytes(corpus, folder, tmp_path):
    publish(corpus, tmp_path / "out", links=True)
    linked = files(tmp_path / "out")
    assert linked == files(folder)
    for shard in corpus.shards:
        assert corpus.object_path("optical", shard).samefile(
            Corpus.open(tmp_path / "out").object_path("optical", shard)
        )


def test_a_damaged_object_stops_it_and_the_rest_is_not_copied_again(tmp_path):
    corpus = finished_corpus(tmp_path / "c", chips=9, shard_rows=4)
    path = corpus.object_path("optical", corpus.shards[1])
    flip(path, 99)
    with pytest.raises(Fatal, match=r"shard 1 of 'optical' .* run `geocorpus verify"):
        publish(corpus, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    draft = tmp_path / ".out.draft.tmp" / "corpus.zarr"
    before = (draft / "cover" / "c" / "0" / "0" / "0" / "0").stat()
    (draft / "cover" / "c" / "0" / "0" / "0" / f".0.{'ab' * 16}.tmp").write_text("of a killed run")
    flip(path, 99)
    publish(corpus, tmp_path / "out")
    after = (tmp_path / "out" / "corpus.zarr" / "cover" / "c" / "0" / "0" / "0" / "0").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert not draft.exists() and verification.verify(tmp_path / "out", Silent()).faults == []
    assert not list((tmp_path / "out").rglob("*.tmp"))


def test_a_draft_of_another_state_is_begun_anew(tmp_path):
    corpus = finished_corpus(tmp_path / "c", chips=9, shard_rows=4)
    flip(corpus.object_path("optical", corpus.shards[1]), 99)
    with pytest.raises(Fatal):
        publish(corpus, tmp_path / "out")
    flip(corpus.object_path("optical", corpus.shards[1]), 99)
    publish(corpus, tmp_path / "out", links=True)
    assert corpus.object_path("cover", corpus.shards[0]).stat().st_nlink == 2


def test_a_linked_object_that_is_not_the_one_in_the_ledger_is_refused(tmp_path):
    corpus = finished_corpus(tmp_path / "c", chips=9, shard_rows=4)
    corpus.object_path("cover", corpus.shards[0]).write_bytes(b"something else")
    with pytest.raises(Fatal, match="shard 0 of 'cover'"):
        publish(corpus, tmp_path / "out", links=True)


def test_what_is_not_finished_or_not_sealed_is_refused(tmp_path):
    corpus = finished_corpus(tmp_path / "c", chips=9, shard_rows=4)
    seal.remove(corpus.folder)
    with pytest.raises(Fatal, match=r"not sealed; run `geocorpus finalize"):
        publish(corpus, tmp_path / "out")
    corpus.ledger.path("cover", 1).unlink()
    with pytest.raises(Fatal, match=r"not finished; run `geocorpus export"):
        publish(Corpus.open(corpus.folder), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_target_is_replaced_only_when_asked_to(corpus, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(Fatal, match="--overwrite"):
        publish(corpus, tmp_path / "out")
    with pytest.raises(Fatal, match="out holds mine, which this command does not write"):
        publish(corpus, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "mine").exists()
    (tmp_path / "out" / "mine").unlink()
    for _ in range(2):
        publish(corpus, tmp_path / "out", overwrite=True)
    assert {path.name for path in (tmp_path / "out").iterdir()} == PUBLISHED


def test_a_folder_of_somebodys_own_that_has_sums_is_not_replaced(corpus, tmp_path):
    own = tmp_path / "photos"
    own.mkdir()
    (own / "a.jpg").write_text("mine")
    (own / "SHA256SUMS").write_text(f"{'0' * 64}  a.jpg\n")
    with pytest.raises(Fatal, match="photos holds SHA256SUMS, which this command does not write"):
        publish(corpus, own, overwrite=True)
    assert (own / "a.jpg").read_text() == "mine"


def test_a_disk_that_is_too_small_is_said_before_anything_is_written(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(copying, "_SPARE", 1e18)
    with pytest.raises(Fatal, match="--link, which takes no space"):
        publish(corpus, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_an_unfinished_draft_holds_needs_no_space_again(tmp_path, monkeypatch):
    corpus = finished_corpus(tmp_path / "c", chips=9, shard_rows=4)
    flip(corpus.object_path("optical", corpus.shards[1]), 99)
    with pytest.raises(Fatal, match="shard 1 of 'optical'"):
        publish(corpus, tmp_path / "out")
    flip(corpus.object_path("optical", corpus.shards[1]), 99)
    usage = shutil.disk_usage(tmp_path)
    left = int(corpus.store.size_bytes() * 0.8)
    monkeypatch.setattr(copying.shutil, "disk_usage", lambda _: usage._replace(free=left))
    with pytest.raises(Fatal, match="--link, which takes no space"):
        publish(corpus, tmp_path / "another")
    publish(corpus, tmp_path / "out")
    assert verification.verify(tmp_path / "out", Silent()).faults == []


def test_an_unknown_column_is_named_with_the_nearest(corpus, tmp_path):
    with pytest.raises(Fatal, match="did you mean 'crop'"):
        publish(corpus, tmp_path / "out", columns=("crops",))


def test_a_corpus_that_has_grown_is_published_as_one(tmp_path):
    finished(tmp_path / "c")
    manifest = grown(tmp_path / "c")
    more = replace(COVER, categories=(*COVER.categories, Category(7, "New")))
    fill(Corpus.create(tmp_path / "c", [more if layer == COVER else layer for layer in MODALITIES], 8))
    Corpus.open(tmp_path / "c").finalize()
    corpus = Corpus.open(tmp_path / "c")
    publish(corpus, tmp_path / "out")
    copy = Corpus.open(tmp_path / "out")
    assert copy.manifest.digest == manifest.digest and not copy.manifest.ancestors
    assert copy.statistics("cover") == corpus.statistics("cover") and not copy.missing()
    assert verification.verify(tmp_path / "out", Silent()).faults == []


def test_what_was_published_can_be_published(folder, tmp_path):
    publish(Corpus.open(folder), tmp_path / "out")
    assert files(tmp_path / "out") == files(folder)
