"""A selection as a corpus: the same chips to the byte, and a corpus like any other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from exporters.formats.choice import Choice
from exporters.formats.convert import write_out
from exporters.formats.corpora import array_cut
from exporters.formats.corpora.composition import Composition
from exporters.formats.format import format_of
from pipeline import verification
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.picked_rows import PickedRows
from pipeline.progress import Silent
from pipeline.rows import HeldRows
from pipeline.shard import shards_of
from pipeline.shard_object import ShardObject
from tests import buckets
from tests.exporters.formats.corpora import assert_same, columns_of, written
from tests.pipeline import older, test_growth
from tests.pipeline.chips import CLIMATE, COVER, MODALITIES, OPTICAL
from tests.pipeline.damage import finished_corpus
from tests.pipeline.own_tables import make_own_manifest


def subset(corpus: Corpus, target: Path, choice: Choice | None = None, **options: str) -> Corpus:
    write_out(format_of("corpus", options), (choice or Choice()).of(corpus), target, options, False, Silent())
    return Corpus.open(target)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Three shards of eight rows, with reasons, an empty shard and chips that are all nodata, and owner's columns."""
    folder = tmp_path_factory.mktemp("subset")
    make_own_manifest(folder, 21, older.SIZE_PX)
    made = Corpus.create(folder, older.LAYERS, 8)
    for shard in made.shards:
        for name in made.modalities:
            older.write(made, name, shard.index)
    made.finalize()
    return Corpus.open(folder)


# What is asked for, and the rows of a shard of the new corpus.
CHOICES = {
    "whole shards": (Choice(rows="8:16"), 8),
    "a taster that ends within a shard": (Choice(rows="0:13"), 8),
    "scattered, in other shards": (Choice(rows="0,2,3,9:12,20"), 5),
    "a split and a layer": (Choice(where="split == 'val'", layers=["cover"]), 8),
}


@pytest.mark.parametrize(("choice", "shard_rows"), CHOICES.values(), ids=CHOICES)
def test_it_is_what_writing_the_values_gives(corpus, tmp_path, choice, shard_rows):
    selection = choice.of(corpus)
    made = subset(corpus, tmp_path / "made", choice, shard_rows=str(shard_rows))
    layers = [corpus.modality(name) for name in selection.layers]
    chosen = [(corpus, int(row)) for row in selection.rows]
    assert_same(made.folder, written(tmp_path / "expected", made.manifest, layers, chosen, shard_rows).folder)
    before, after = columns_of(corpus.manifest), columns_of(made.manifest)
    assert after == {name: [cells[row] for row in selection.rows] for name, cells in before.items()}
    found = verification.verify(made.folder, Silent())
    assert (found.faults, found.unfinished, found.seal is not None) == ([], 0, True)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 20)), min_size=1), st.integers(1, 9))
@example_settings(max_examples=40)
def test_every_place_of_every_shard_has_its_part(corpus, chosen, shard_rows):
    which, rows = (np.array(part) for part in zip(*chosen, strict=True))
    composition = Composition((corpus, corpus), which, rows, ())
    for shard in shards_of(len(rows), shard_rows):
        found = {
            int(place): (part.source, int(row))
            for part in composition.parts(shard)
            for row, place in zip(part.rows, part.places, strict=True)
            if part.shard.start <= row < part.shard.stop
        }
        assert found == dict(enumerate(chosen[shard.start : shard.stop]))


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 20)), min_size=1), st.integers(0, 30), st.integers(0, 30))
@example_settings(max_examples=40)
def test_picked_rows_are_those_of_a_table_in_memory(chosen, start, stop):
    tables = [pa.table({"a": range(21), "b": [f"{row}" for row in range(21)]}), pa.table({"a": range(100, 121)})]
    which, rows = (np.array(part) for part in zip(*chosen, strict=True))
    picked = PickedRows([HeldRows(table) for table in tables], which, rows, tables[0].schema)
    expected = [{"a": row + 100 * table, "b": None if table else f"{row}"} for table, row in chosen]
    start, stop = sorted((min(start, len(rows)), min(stop, len(rows))))
    assert picked.part(start, stop).to_pylist() == expected[start:stop]
    assert pa.concat_tables(picked.pieces()).to_pylist() == expected
    assert picked.column("b").to_pylist() == [row["b"] for row in expected]


def test_compressed_chips_move_as_they_are(tmp_path, monkeypatch):
    corpus = finished_corpus(tmp_path / "corpus")
    monkeypatch.setattr("pipeline.sharding.ChipCodec.compressed", None)  # called, it would fail
    subset(corpus, tmp_path / "made", Choice(rows="1:9", layers=["cover", "optical"]))


def test_whole_shards_are_not_decoded(tmp_path, monkeypatch):
    corpus = finished_corpus(tmp_path / "corpus")
    monkeypatch.setattr("pipeline.stored_chips.blosc", None)
    monkeypatch.setattr("pipeline.corpus.Corpus.write", None)
    subset(corpus, tmp_path / "made", Choice(rows="8:21"))


def test_how_a_layer_is_cut_is_looked_at_once_however_many_shards_it_has(tmp_path, monkeypatch):
    corpus = finished_corpus(tmp_path / "corpus", shard_rows=2)
    read, seen = array_cut.read_metadata, []
    monkeypatch.setattr(array_cut, "read_metadata", lambda store, name: seen.append(name) or read(store, name))
    monkeypatch.setattr("exporters.formats.corpora.assembly._AT_ONCE", 1)
    subset(corpus, tmp_path / "made", Choice(rows="0:20"))
    assert sorted(seen) == sorted([*corpus.modalities] * 2)


def test_a_store_of_the_older_format_becomes_one_of_the_newer(tmp_path):
    (tmp_path / "old").mkdir()
    corpus = older.aged(older.made(tmp_path / "old", 1))
    made = subset(corpus, tmp_path / "made", Choice(rows="0:16"))
    chosen = [(corpus, row) for row in range(16)]
    assert_same(made.folder, written(tmp_path / "expected", made.manifest, older.LAYERS, chosen, 8).folder)


def test_a_corpus_that_grew_gives_rows_of_all_its_states(tmp_path):
    test_growth.finished(tmp_path / "grown")
    test_growth.grown(tmp_path / "grown")
    corpus = Corpus.create(tmp_path / "grown", MODALITIES, 8)
    test_growth.fill(corpus)
    corpus.finalize()
    count = len(corpus.manifest)
    made = subset(Corpus.open(corpus.folder), tmp_path / "made", Choice(rows=f"3:{count}"))
    chosen = [(corpus, row) for row in range(3, count)]
    assert made.manifest.ancestors == ()
    layers = [corpus.modality(modality.name) for modality in (CLIMATE, COVER, OPTICAL)]
    assert_same(made.folder, written(tmp_path / "expected", made.manifest, layers, chosen, made.shard_rows).folder)


def test_where_it_comes_from_is_kept_and_sealed(corpus, tmp_path):
    (tmp_path / "first").mkdir()
    first = subset(corpus, tmp_path / "first" / "made", Choice(rows="0:10"))
    second = subset(first, tmp_path / "second", Choice(rows="2:4"))
    said = json.loads((second.folder / "provenance.json").read_text())
    (source,) = said["sources"]
    assert (source["manifest_digest"], source["rows"], source["rows_taken"]) == (first.manifest.digest, 10, 2)
    assert source["provenance"]["sources"][0]["manifest_digest"] == corpus.manifest.digest
    (second.folder / "provenance.json").write_text("{}")
    with pytest.raises(Fatal, match="provenance.json is lost or damaged"):
        Corpus.open(second.folder)


def test_equal_selections_are_equal_bytes(corpus, tmp_path):
    one, other = (subset(corpus, tmp_path / name, Choice(rows="2:15")) for name in ("one", "other"))
    assert [path.read_bytes() for path in sorted(one.folder.rglob("*")) if path.is_file()] == [
        path.read_bytes() for path in sorted(other.folder.rglob("*")) if path.is_file()
    ]


def _flip_chip(path: Path, place: int) -> None:
    """Damage a compressed chip within a shard's object."""
    content = bytearray(path.read_bytes())
    offset, length = ShardObject.of(np.frombuffer(bytes(content), np.uint8), 8).byte_ranges[place]
    content[offset + length // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("rows", ["8:16", "9:12"], ids=["whole shard", "re-sharded"])
def test_damage_is_not_handed_on(tmp_path, rows):
    corpus = finished_corpus(tmp_path / "corpus")
    _flip_chip(corpus.object_path("optical", corpus.shards[1]), 2)
    with pytest.raises(Fatal, match="shard 1 of 'optical' .* run `geocorpus verify"):
        subset(corpus, tmp_path / "made", Choice(rows=rows))
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


def test_damage_is_not_handed_on_from_the_older_format(tmp_path):
    (tmp_path / "old").mkdir()
    corpus = older.made(tmp_path / "old", 1)
    _flip_chip(corpus.object_path("optical", corpus.shards[1]), 2)
    with pytest.raises(Fatal, match="its digest is another one|has another size"):
        subset(corpus, tmp_path / "made", Choice(rows="9:12", layers=["optical"]))


def test_an_unfinished_shard_is_refused_by_its_name(tmp_path):
    corpus = finished_corpus(tmp_path / "corpus")
    corpus.unseal()
    for name in ("optical", "climate"):
        corpus.ledger.path(name, 2).unlink()
        for rows in ("15:18", "16:21"):
            with pytest.raises(Fatal, match=f"shard 2 of '{name}' .* is not finished"):
                subset(Corpus.open(corpus.folder), tmp_path / "other", Choice(rows=rows, layers=[name]))
    assert len(subset(corpus, tmp_path / "made", Choice(rows="3:16", layers=["optical"])).manifest) == 13


def test_an_impossible_size_of_shards_is_refused(corpus, tmp_path):
    for text in ("0", "-3", "many", "1.5"):
        with pytest.raises(Fatal, match="shard_rows"):
            subset(corpus, tmp_path / "made", shard_rows=text)


def test_classes_that_its_chips_no_longer_have_are_no_other_specification(tmp_path):
    """As where settings ask again for a layer whose classes are those of the manifest."""
    corpus = finished_corpus(tmp_path / "corpus")
    made = subset(corpus, tmp_path / "made", Choice(rows="0:3"))
    fewer = COVER.with_categories([COVER.categories[2], COVER.categories[0]])
    assert Corpus.create(made.folder, [fewer], made.shard_rows).modality("cover") == COVER
    other = COVER.with_categories([replace(COVER.categories[2], name="Sea")])
    for folder, layer in ((made.folder, other), (corpus.folder, fewer)):
        with pytest.raises(Fatal, match="another specification"):
            Corpus.create(folder, [layer], 8)


@pytest.mark.slow
def test_from_a_bucket_it_is_the_same(tmp_path):
    with buckets.service():
        test_growth.finished(tmp_path / "far", f"s3://{buckets.BUCKET}/subset/corpus.zarr")
        test_growth.finished(tmp_path / "near")
        far, near = (
            subset(Corpus.open(tmp_path / name), tmp_path / f"of-{name}", Choice(rows="3:17"))
            for name in ("far", "near")
        )
    assert_same(far.folder, near.folder)
