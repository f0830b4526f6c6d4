"""`geocorpus publish` as it is typed: a corpus of layers that geocorpus knows, a file of what is said, one sentence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from exporters import catalog
from flows import stages
from flows.publishing import publish
from flows.settings import load
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.progress import Silent
from tests.flows.jobs import geocorpus
from tests.pipeline.chips import make_block, make_manifest
from tests.pipeline.damage import SIZE_PX
from tests.training.corpora import make_corpus

SAID = """
title = "Fields"
licence = "CC-BY-4.0"
url = "https://example.org/fields"
[[creators]]
name = "Doe, Jane"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished corpus of layers of geocorpus, as an older release left it: without licences."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    make_manifest(folder, 5, SIZE_PX)
    layers = [replace(layer, licence=None) for layer in catalog.modalities(["esa_worldcover", "lat"])]
    corpus = Corpus.create(folder, layers, 4)
    for shard in corpus.shards:
        for layer in layers:
            corpus.write(shard, layer.name, make_block(layer, len(shard), SIZE_PX, 0), {})
    corpus.finalize()
    return folder


def test_licences_of_an_older_corpus_are_those_of_the_known_layers(folder, tmp_path):
    (folder / "publish.toml").write_text(SAID)
    said = publish(folder, tmp_path / "out", None, {"version": "1.1.0"}, False, False, Silent())
    text = (tmp_path / "out" / "LICENCES.md").read_text()
    assert "unknown" not in said + text
    assert "processed by ESA WorldCover consortium" in text and "as the corpus itself" in text
    assert Corpus.open(tmp_path / "out").modalities["esa_worldcover"].licence.name == "CC-BY-4.0"
    assert "version: 1.1.0" in (tmp_path / "out" / "CITATION.cff").read_text()


def test_what_is_published_has_settings_to_train_and_does_not_grow(folder, tmp_path):
    (folder / "publish.toml").write_text(SAID)
    publish(folder, tmp_path / "out", None, {}, False, False, Silent())
    chosen = load(str(tmp_path / "out"), ["pretrain.steps=2"])
    assert (chosen.folder, chosen.corpus.size_px) == (tmp_path / "out", SIZE_PX)
    stages.check(chosen, "pretrain")
    for stage in ("sample", "build", "export"):
        with pytest.raises(Fatal, match=r"has no config.toml.*publish that again"):
            stages.check(chosen, stage)


def test_a_corpus_of_layers_that_nobody_else_knows_is_read_where_it_came_to(tmp_path):
    corpus = make_corpus(tmp_path / "fields")  # its layers have no file of a modality here, and it has no settings
    for stage in ("finalize", "pretrain", "finetune"):
        stages.check(load(str(corpus.folder), ["pretrain.steps=2"]), stage)
        with pytest.raises(Fatal, match="unknown modality 'lihgt'"):
            stages.check(load(str(corpus.folder), ['corpus.modalities=["light", "lihgt"]']), stage)
    with pytest.raises(Fatal, match="unknown modality 'light'"):
        stages.check(load(str(corpus.folder), ['corpus.modalities=["light"]']), "export")


def test_a_bucket_is_no_target(folder):
    (folder / "publish.toml").write_text(SAID)
    with pytest.raises(Fatal, match="s3://bucket/out is no folder of this machine; write to one"):
        publish(folder, Path("s3://bucket/out"), None, {}, False, False, Silent())


@pytest.mark.slow
def test_it_is_typed(folder, tmp_path):
    refused = geocorpus("publish", str(folder), str(tmp_path / "out"), "--title", "Fields")
    assert refused.returncode == 2 and not (tmp_path / "out").exists()
    assert "geocorpus: a data set needs creators, licence, url; give --creator" in refused.stderr
    (tmp_path / "about.toml").write_text(SAID)
    done = geocorpus(
        "publish", str(folder), str(tmp_path / "out"), "--about", str(tmp_path / "about.toml"), "--link", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["target"] == str(tmp_path / "out")
    assert geocorpus("verify", str(tmp_path / "out")).returncode == 0
