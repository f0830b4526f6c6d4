"""What a publisher has to say, from a file and from options; what is wrong is one sentence."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from exporters.publication.about import read_about
from exporters.publication.terms import terms
from pipeline.errors import Fatal
from pipeline.licence import UNKNOWN, Licence, cc_by_4
from tests.pipeline.chips import COVER, MODALITIES
from tests.pipeline.damage import finished_corpus

FILE = """
title = "Fields"
licence = "CC-BY-4.0"
url = "https://example.org/fields"
published = 2026-11-01
[[creators]]
name = "Doe, Jane"
orcid = "0000-0002-1825-0097"
[layers.cover]
name = "ODbL-1.0"
url = "https://opendatacommons.org/licenses/odbl/1-0/"
attribution = "© Contributors"
"""
SAID = {"title": "T", "creators": [{"name": "The Lab"}], "licence": "CC0-1.0", "url": "https://example.org"}


def test_options_stand_in_the_place_of_the_file(tmp_path):
    path = tmp_path / "publish.toml"
    path.write_text(FILE)
    about = read_about(path, {"title": "Forests", "version": "2.0.0"})
    assert (about.title, about.version, about.published) == ("Forests", "2.0.0", date(2026, 11, 1))
    assert about.layers["cover"].name == "ODbL-1.0" and about.creators[0].family_given == ("Doe", "Jane")


@pytest.mark.parametrize("missing", ["title", "creators", "licence", "url"])
def test_what_is_needed_is_asked_for(missing):
    with pytest.raises(Fatal, match=f"needs {missing}; give --{missing.removesuffix('s')} "):
        read_about(None, {key: value for key, value in SAID.items() if key != missing})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"version": "first"}, "version 'first'"), ({"doi": "zenodo.1"}, "doi 'zenodo.1'"),
        ({"url": "example.org"}, "begin it with https"), ({"licence": "free for all"}, "no SPDX identifier"),
        ({"tittle": "x"}, "did you mean 'title'"), ({"published": "soon"}, "published is wrong"),
        ({"creators": [{"nam": "x"}]}, "creators.0"), ({"layers": {"cover": {}}}, "layers.cover"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence(change, sentence):
    with pytest.raises(Fatal, match=sentence) as error:
        read_about(None, SAID | change)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_toml_is_named(tmp_path):
    (tmp_path / "about.toml").write_text("title = ")
    with pytest.raises(Fatal, match=r"about\.toml cannot be read as TOML"):
        read_about(tmp_path / "about.toml", {})


def test_licences_come_from_who_knows_best(tmp_path):
    corpus = finished_corpus(tmp_path, chips=3)
    known = {layer.name: replace(layer, licence=cc_by_4("Known.")) for layer in MODALITIES}
    about = read_about(None, SAID | {"layers": {"cover": {"name": "ODbL-1.0"}}})
    found = terms(corpus, about, known)
    assert found["cover"] == Licence("ODbL-1.0") and found["optical"].attribution == "Known."
    assert terms(corpus, read_about(None, SAID), {})["cover"] == UNKNOWN


def test_a_layer_that_only_has_the_same_name_is_not_known(tmp_path):
    corpus = finished_corpus(tmp_path, chips=3)
    other = replace(COVER, assets=("SOMEBODY/ELSE",), licence=cc_by_4("Other."))
    assert terms(corpus, read_about(None, SAID), {"cover": other})["cover"] == UNKNOWN


def test_a_layer_that_the_corpus_lacks_is_named(tmp_path):
    about = read_about(None, SAID | {"layers": {"covr": {"name": "ODbL-1.0"}}})
    with pytest.raises(Fatal, match="did you mean 'cover'"):
        terms(finished_corpus(tmp_path, chips=3), about, {})
