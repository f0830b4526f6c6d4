"""A layer's licence stands in the store beside its specification, and changes nothing about what the layer is."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pipeline import repair, verification
from pipeline.corpus import Corpus
from pipeline.licence import OWN, UNKNOWN, YEARS, Licence, cc_by_4, common_identifier
from pipeline.progress import Silent
from tests.pipeline.chips import COVER, MODALITIES, OPTICAL, make_manifest
from tests.pipeline.damage import fill, finished_corpus

MAKER = cc_by_4(f"Made by me, {YEARS}.")


@given(name=st.text(min_size=1), url=st.text(), attribution=st.text())
def test_what_attributes_hold_comes_back(name, url, attribution):
    licence = Licence(name, url, attribution)
    assert Licence.from_attributes(json.loads(json.dumps(licence.attributes()))) == licence


def test_only_a_name_without_spaces_is_an_identifier():
    assert MAKER.identifier == "CC-BY-4.0"
    assert OWN.identifier is None and UNKNOWN.identifier is None and Licence.from_attributes({}) is None


def test_years_are_written_out():
    assert MAKER.of_years(2017, 2020).attribution == "Made by me, 2017-2020."
    assert MAKER.of_years(2018, 2018).attribution == "Made by me, 2018."


def test_an_identifier_is_common_only_if_all_have_it():
    cc0, words = Licence("CC0-1.0"), Licence("terms in words")
    assert common_identifier([cc0, Licence("CC0-1.0", "https://example.org"), OWN]) == "CC0-1.0"
    for licences in ([cc0, cc_by_4("a")], [cc0, words], [words], [cc0, None], [cc0, UNKNOWN], [OWN], []):
        assert common_identifier(licences) is None


def test_a_licence_is_no_part_of_what_a_layer_is():
    licensed = replace(OPTICAL, licence=MAKER)
    assert licensed == OPTICAL and licensed.digest == OPTICAL.digest


def test_the_store_keeps_it(tmp_path):
    make_manifest(tmp_path, 5)
    Corpus.create(tmp_path, [replace(OPTICAL, licence=MAKER), COVER], 4)
    layers = Corpus.open(tmp_path).modalities
    assert layers["optical"].licence == MAKER and layers["cover"].licence is None
    attributes = json.loads((tmp_path / "corpus.zarr" / "optical" / "zarr.json").read_text())["attributes"]
    assert attributes["license"] == "CC-BY-4.0" and "license" not in attributes["geocorpus"]


def test_a_corpus_of_an_older_release_takes_a_layer_that_has_one_now(tmp_path):
    corpus = finished_corpus(tmp_path, chips=5, shard_rows=4)
    before = (tmp_path / "corpus.zarr" / "cover" / "zarr.json").read_bytes()
    Corpus.create(tmp_path, [replace(layer, licence=MAKER) for layer in MODALITIES], 4)
    assert (tmp_path / "corpus.zarr" / "cover" / "zarr.json").read_bytes() == before
    assert not Corpus.open(tmp_path).missing() and corpus.modalities["cover"].licence is None


def test_a_corpus_with_licences_verifies_sealed_and_unsealed(tmp_path):
    make_manifest(tmp_path, 5)
    corpus = Corpus.create(tmp_path, [replace(layer, licence=MAKER) for layer in MODALITIES], 4)
    fill(corpus)
    assert verification.verify(tmp_path, Silent()).faults == []
    corpus.finalize()
    assert verification.verify(tmp_path, Silent()).faults == []


def test_metadata_of_an_older_release_is_mended_from_a_layer_that_has_a_licence_now(tmp_path):
    finished_corpus(tmp_path, chips=5, shard_rows=4)
    path = tmp_path / "corpus.zarr" / "cover" / "zarr.json"
    before = path.read_bytes()
    for lost in (path, tmp_path / "corpus.zarr" / "zarr.json"):  # and the root, which has a copy of it
        lost.unlink()
    known = {layer.name: replace(layer, licence=MAKER) for layer in MODALITIES}
    assert repair.repair(tmp_path, Silent(), lambda manifest: known).found.faults == []
    assert path.read_bytes() == before
