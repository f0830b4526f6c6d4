"""A run on several corpora: it resumes exactly, in one process and in two, and only with those that it began with."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from tests.training.corpora import CONFIG, CULTURE, ECHO, LIGHT, make_corpus
from tests.training.data.test_joined_corpus import other_manifest
from tests.training.pretrain.test_train import Recorder, Stopped, assert_same_state
from training.config import PretrainConfig
from training.pretrain.train import pretrain
from training.weights import checkpoint
from training.weights.weights import load_encoder


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("other"), 13, (LIGHT, ECHO, CULTURE), 5, manifest_of=other_manifest)


def on_both(other: Path, **changes: Any) -> PretrainConfig:
    return replace(CONFIG, also=(str(other),), **changes)


@pytest.fixture(scope="module")
def whole(corpus: Corpus, other: Corpus, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[float], Path, Path]:
    """Losses, last checkpoint and folder of an uninterrupted run on both."""
    recorder, folder = Recorder(), tmp_path_factory.mktemp("whole")
    result = pretrain(corpus.folder, on_both(other.folder, pictures_every=6), folder, recorder)
    return recorder.losses, result.checkpoint, folder


def test_it_says_which_corpora_it_saw(corpus: Corpus, other: Corpus, whole: tuple[list[float], Path, Path]) -> None:
    run = json.loads((whole[2] / "run.json").read_text())
    assert run["corpora"] == [
        {"folder": str(corpus.folder), "manifest": corpus.manifest.digest},
        {"folder": str(other.folder), "manifest": other.manifest.digest},
    ]
    assert run["config"]["also"] == [str(other.folder)] and run["train_rows"] == 16 + 10
    card = (whole[2] / "model_card.md").read_text()
    assert f"- Chips of several corpora: `{corpus.folder.name}` (20, manifest `" in card and "33 chips of 32 px" in card
    assert (whole[2] / "pictures").exists() and load_encoder(whole[2]).normalisation.channels == 2


@pytest.mark.parametrize("patience", [2, 5])
def test_stopped_and_relaunched_is_as_if_never_stopped(
    corpus: Corpus, other: Corpus, whole: tuple[list[float], Path, Path], tmp_path: Path, patience: int
) -> None:
    with pytest.raises(Stopped):
        pretrain(corpus.folder, on_both(other.folder), tmp_path / "run", Recorder(patience))
    moved = shutil.copytree(other.folder, tmp_path / "moved")  # A corpus may move.
    rest = pretrain(corpus.folder, on_both(moved), tmp_path / "run")
    assert_same_state(rest.checkpoint, whole[1])


def test_it_goes_on_with_its_corpora_only(corpus: Corpus, other: Corpus, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        pretrain(corpus.folder, on_both(other.folder), tmp_path / "run", Recorder(3))
    with pytest.raises(Fatal, match="was begun with 2 corpora, and 1 are given now; make pretrain.also what it was"):
        pretrain(corpus.folder, CONFIG, tmp_path / "run")
    third = make_corpus(tmp_path / "third", 12, (LIGHT, ECHO, CULTURE), 5, manifest_of=other_manifest)
    with pytest.raises(Fatal, match="third is not the one that the run was begun with, then in .*; put that back, or"):
        pretrain(corpus.folder, on_both(third.folder), tmp_path / "run")
    pretrain(corpus.folder, replace(CONFIG, steps=2), tmp_path / "alone")
    with pytest.raises(Fatal, match="was begun with 1 corpora, and 2 are given now"):
        pretrain(corpus.folder, on_both(other.folder, steps=2), tmp_path / "alone")


def test_a_corpus_whose_layer_was_written_anew_is_another(corpus: Corpus, tmp_path: Path) -> None:
    other = make_corpus(tmp_path / "other", 13, (LIGHT, ECHO, CULTURE), 5, manifest_of=other_manifest)
    with pytest.raises(Stopped):
        pretrain(corpus.folder, on_both(other.folder), tmp_path / "run", Recorder(3))
    block = other.read("echo", other.shards[1].slice)
    other.write(other.shards[1], "echo", block + 1, {})
    with pytest.raises(Fatal, match="was made from another corpus, or before it grew; give the new run a name"):
        pretrain(corpus.folder, on_both(other.folder), tmp_path / "run")


@pytest.mark.slow
def test_two_processes_train_as_one(
    corpus: Corpus, other: Corpus, whole: tuple[list[float], Path, Path], tmp_path: Path
) -> None:
    recorder = Recorder()
    pretrain(corpus.folder, on_both(other.folder, processes=2), tmp_path, recorder)
    assert recorder.losses == pytest.approx(whole[0], rel=2e-3)


KILLED = """
import sys
from dataclasses import replace
from pathlib import Path
from pipeline.progress import Silent
from tests.training.corpora import CONFIG
from training.pretrain.train import pretrain

class Talk(Silent):
    def advance(self, count=1):
        print("step", flush=True)

pretrain(Path(sys.argv[1]), replace(CONFIG, also=(sys.argv[2],)), Path(sys.argv[3]), Talk())
print("end", flush=True)
"""


@pytest.mark.slow
def test_killed_it_ends_with_the_same_weights(
    corpus: Corpus, other: Corpus, whole: tuple[list[float], Path, Path], tmp_path: Path
) -> None:
    root = Path(__file__).resolve().parents[3]
    for ending in (signal.SIGKILL, None):
        arguments = [sys.executable, "-c", KILLED, str(corpus.folder), str(other.folder), str(tmp_path / "run")]
        process = subprocess.Popen(arguments, cwd=root, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(3 if ending else 0):
            process.stdout.readline()
        if ending:
            process.send_signal(ending)
        said = process.communicate()[0]
    assert said.splitlines()[-1] == "end"
    newest = checkpoint.complete(tmp_path / "run" / "checkpoints")[-1]
    assert_same_state(newest, whole[1])
