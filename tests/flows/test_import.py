"""What comes in becomes a corpus like any other; a stopped import goes on; nothing that is there is overwritten."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from exporters.formats import importer
from exporters.formats.importer import Block, Importer, Incoming
from exporters.pull import intake
from flows import exchange, verify
from flows.terminal.cli import app
from flows.terminal.status import read_status
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.manifest import Manifest
from pipeline.progress import Silent
from tests.pipeline.chips import CLIMATE, COVER, MODALITIES, make_block, make_chip, make_manifest

SIZE_PX = 16
CHIPS = 7
SMALL = ["corpus.shard_rows=3"]


def _values(layer, rows):
    return np.stack([make_block(layer, 1, SIZE_PX, 100 + row)[0] for row in rows])


def _read(layer, shard):
    values, missing = _values(layer, shard.rows), {}
    if layer == COVER and 2 in shard.rows:
        values[2 - shard.start, 0, 3, 3] = 77  # no class
    if layer == COVER and 4 in shard.rows:
        missing[4] = "under water"
    if layer == CLIMATE and 5 in shard.rows:
        values[5 - shard.start] = -np.inf
    return Block(values, missing)


def _open(source, options, catalogue):
    if "sentinel2" not in catalogue:
        raise AssertionError("the catalogue is lacking")
    seed = int(source.read_text())
    manifest = Manifest.freeze([make_chip(number, SIZE_PX) for number in range(CHIPS)], seed)
    return Incoming(manifest, MODALITIES, _read, ("Nobody knows the scenes.",))


TOY = Importer("toy", "A toy", lambda path: path.suffix == ".toy", _open, {"a": "nothing"})


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setattr(importer, "importers", lambda: {"toy": TOY})
    path = tmp_path / "some.toy"
    path.write_text("0")
    return path


def _import(source, folder, **more):
    given = {"form": None, "options": [], "overrides": SMALL} | more
    return exchange.import_corpus(source, folder, progress=Silent(), **given)


def _bytes(folder: Path) -> dict[str, bytes]:
    """All files but those that name a folder or draw a page."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("config.toml", "report.html", "manifest.digest.json", "seal.json")
    }


def test_a_source_becomes_a_corpus_that_every_command_takes(source, tmp_path):
    folder = tmp_path / "corpus"
    done = _import(source, folder)
    assert done.startswith("7 chips with 3 layers") and done.facts["unknown"] == ["Nobody knows the scenes."]
    corpus = Corpus.open(folder)
    assert np.array_equal(corpus.read("optical", slice(0, 7)), _values(MODALITIES[0], range(7)))
    reasons = {row: reason for entry in corpus.entries("cover") for row, reason in entry.missing.items()}
    assert reasons == {2: "values 77 are none of its classes", 4: "under water"}
    assert (corpus.read("cover", slice(2, 3)) == COVER.fill).all() and (corpus.read("cover", slice(4, 5)) == 255).all()
    assert {5: "all values are masked"} == {
        r: s for entry in corpus.entries("climate") for r, s in entry.missing.items()
    }
    assert all(entry.quality["chips"] for entry in corpus.entries("optical"))
    assert verify.verify(folder, Silent()).found.faults == [] and (folder / "report.html").exists()
    status = read_status(folder)
    assert (status.chips, status.next_step, status.finalized) == (7, "pretrain", True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda values: values.astype(np.float64), "3 x 1 x 16 x 16 of float64, and the layer has .* of uint8"),
        (lambda values: values.astype(np.int16), "3 x 1 x 16 x 16 of int16, and the layer has .* of uint8"),
        (lambda values: values[:1], "1 x 1 x 16 x 16 of uint8, and the layer has 3 x 1 x 16 x 16 of uint8"),
        (lambda values: values[..., :1], "3 x 1 x 16 x 1 of uint8, and"),
    ],
)
def test_what_is_not_as_its_layer_is_refused_and_not_cast(source, tmp_path, monkeypatch, change, words):
    def read(layer, shard):
        block = _read(layer, shard)
        return replace(block, values=change(block.values)) if layer == COVER else block

    monkeypatch.setattr(importer, "importers", lambda: {"toy": replace(TOY, open=_opened_by(read))})
    with pytest.raises(Fatal, match=f"rows 0 to 2 of layer 'cover' were read as {words}.*; mend the importer"):
        _import(source, tmp_path / "corpus")


def _opened_by(read):
    return lambda *source: replace(_open(*source), read=read)


def test_a_stopped_import_goes_on_and_ends_with_the_same_bytes(source, tmp_path, monkeypatch):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    _import(source, whole)
    count = 0

    def failing(*args):
        nonlocal count
        count += 1
        if count > 1:
            raise KeyboardInterrupt
        return intake_inspect(*args)

    intake_inspect = intake.inspect
    monkeypatch.setattr(intake, "inspect", failing)
    with pytest.raises(KeyboardInterrupt):
        _import(source, stopped)
    assert len(Corpus.open(stopped).missing()) == 2
    assert read_status(stopped).next_step == "import"
    monkeypatch.undo()
    monkeypatch.setattr(importer, "importers", lambda: {"toy": TOY})
    _import(source, stopped, overrides=[])
    assert _bytes(stopped) == _bytes(whole)


def test_a_lost_shard_is_imported_again_and_not_pulled(source, tmp_path):
    folder = tmp_path / "corpus"
    _import(source, folder)
    corpus = Corpus.open(folder)
    path = corpus.object_path("optical", corpus.shards[1])
    before = path.read_bytes()
    path.unlink()
    done = verify.repair(folder, Silent())
    assert done.next_steps[0] == f"geocorpus import {source} {folder} --from toy"
    with pytest.raises(Fatal, match="was imported; run `geocorpus import"):
        CliRunner().invoke(app, ["export", str(folder)], catch_exceptions=False, standalone_mode=False)
    _import(source, folder)
    assert path.read_bytes() == before and verify.verify(folder, Silent()).found.faults == []


def test_what_is_there_stays(source, tmp_path):
    folder = tmp_path / "corpus"
    _import(source, folder)
    before = _bytes(folder)
    other = tmp_path / "other.toy"
    other.write_text("1")
    with pytest.raises(Fatal, match="other chips"):
        _import(other, folder)
    with pytest.raises(Fatal, match="was begun with `geocorpus import .*some.toy"):
        _import(source, folder, options=["a=1"])
    (folder / "import.json").unlink()
    with pytest.raises(Fatal, match="not imported; choose another"):
        _import(source, folder)
    assert _bytes(folder) == {name: content for name, content in before.items() if name != "import.json"}


@pytest.mark.parametrize(
    ("name", "more", "sentence"),
    [
        ("none.toy", {}, "does not exist"),
        ("odd.txt", {}, "none of the formats that are recognised .*; rasters come in by a TOML file that describes"),
        ("made", {}, "made is a corpus already; `geocorpus merge`"),
        ("some.toy", {"form": "tox"}, "did you mean 'toy'"),
        ("some.toy", {"options": ["b=1"]}, "unknown option of toy"),
        ("some.toy", {"options": ["b"]}, "key=value"),
        ("some.toy", {"overrides": ["corpus.shard_row=1"]}, "did you mean"),
    ],
)
def test_a_wrong_use_is_one_sentence_and_writes_nothing(source, tmp_path, name, more, sentence):
    (tmp_path / "odd.txt").write_text("x")
    (tmp_path / "made").mkdir()
    make_manifest(tmp_path / "made", 3, 32)
    with pytest.raises(Fatal, match=sentence):
        _import(tmp_path / name, tmp_path / "corpus", **more)
    assert not (tmp_path / "corpus").exists()


def test_the_command(source, tmp_path):
    typed = ["import", str(source), str(tmp_path / "corpus"), *SMALL, "--json"]
    result = CliRunner().invoke(app, typed, catch_exceptions=False)
    facts = json.loads(result.stdout)
    assert facts["chips"] == 7 and facts["unknown"] == ["Nobody knows the scenes."]
    for before in (typed[:3], typed[:1]):
        assert "toy          A toy" in CliRunner().invoke(app, [*before, "--from", "help"]).stdout
    assert "webdataset" in CliRunner().invoke(app, ["convert", "--to", "help"]).stdout
