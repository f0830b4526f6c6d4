"""A run on a corpus that grows under it: it goes on with what it saw, to the same weights, and its card says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from tests.pipeline.test_growth import grown
from tests.training.corpora import ALL, CONFIG, SIZE_PX, chips_of, make_corpus
from tests.training.pretrain.test_train import Recorder, Stopped
from training.pretrain.model_card import CARD
from training.pretrain.train import pretrain
from training.weights import checkpoint

ROWS, SHARD_ROWS = 20, 8  # the last shard had 4 rows


def grow(folder: Path, filled: bool) -> Corpus:
    grown(folder, ROWS, 30, SIZE_PX)
    corpus = Corpus.create(folder, ALL, SHARD_ROWS)
    for shard, names in corpus.missing().items() if filled else ():
        for name in names:
            corpus.write(shard, name, chips_of(corpus.modality(name), corpus.manifest, shard.rows), {})
    return corpus


@pytest.mark.parametrize(("filled", "older"), [(True, False), (False, False), (True, True)])
def test_it_goes_on_as_if_the_corpus_had_not_grown(corpus: Corpus, tmp_path: Path, filled: bool, older: bool) -> None:
    whole = pretrain(corpus.folder, CONFIG, tmp_path / "whole")
    folder, run = make_corpus(tmp_path / "corpus").folder, tmp_path / "run"
    with pytest.raises(Stopped):
        pretrain(folder, CONFIG, run, Recorder(patience=3))
    if older:  # `run.json` did not name the manifest
        facts = json.loads((run / "run.json").read_text())
        del facts["manifest"]
        (run / "run.json").write_text(json.dumps(facts))
    grow(folder, filled)
    result = pretrain(folder, CONFIG, run)
    ours, theirs = checkpoint.read(result.checkpoint)["model"], checkpoint.read(whole.checkpoint)["model"]
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    card, manifest = (run / CARD).read_text(), corpus.manifest.digest
    assert f"manifest `{manifest[:16]}`" in card and "20 chips of 32 px" in card
    assert "The corpus has 30 chips now: the run saw it when it was the first 20." in card
    assert json.loads((run / "run.json").read_text())["manifest"] == manifest


def test_a_new_run_sees_all(tmp_path: Path) -> None:
    folder = make_corpus(tmp_path / "corpus").folder
    corpus = grow(folder, filled=True)
    pretrain(folder, CONFIG, tmp_path / "run")
    card = (tmp_path / "run" / CARD).read_text()
    assert f"manifest `{corpus.manifest.digest[:16]}`" in card and "chips now" not in card
    assert json.loads((tmp_path / "run/run.json").read_text())["train_rows"] == 24


def test_a_new_run_waits_for_the_export(tmp_path: Path) -> None:
    folder = make_corpus(tmp_path / "corpus").folder
    grow(folder, filled=False)
    with pytest.raises(Fatal, match="2 of 4 shards .* are not finished"):
        pretrain(folder, CONFIG, tmp_path / "run")
