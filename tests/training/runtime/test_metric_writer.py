"""TensorBoard always; Weights & Biases only where asked, and one sentence where it is not there."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from tests.training.corpora import CONFIG
from tests.training.pretrain.test_train import Recorder, Stopped
from training.pretrain.train import pretrain


class FakeRun:
    """Stands for a run of Weights & Biases; the real one was tried by hand, offline."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.logged: dict[int, dict[str, float]] = {}
        self.finished = 0

    def init(self, **asked: Any) -> FakeRun:
        self.asked.append(asked)
        return self

    def log(self, figures: dict[str, float], step: int) -> None:
        self.logged.setdefault(step, {}).update(figures)

    def finish(self) -> None:
        self.finished += 1


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    run, module = FakeRun(), ModuleType("wandb")
    module.init = run.init  # type: ignore[attr-defined]
    module.__spec__ = __spec__
    monkeypatch.setitem(sys.modules, "wandb", module)
    return run


def test_a_relaunch_draws_on_the_same_run(corpus: Corpus, tmp_path: Path, fake: FakeRun) -> None:
    config = replace(CONFIG, wandb="earth")
    with pytest.raises(Stopped):
        pretrain(corpus.folder, config, tmp_path / "mine", Recorder(4))
    pretrain(corpus.folder, config, tmp_path / "mine")
    first, second = fake.asked
    assert first["project"] == "earth" and first["name"] == "mine" and first["config"]["encoder"] == "zepto"
    assert first["id"] == second["id"] and second["resume"] == "allow"
    assert sorted(fake.logged) == [0, 1, 2, 3, 4, 5, 6] and "loss/light" in fake.logged[6] and fake.finished == 2


def test_is_not_touched_unless_asked(corpus: Corpus, tmp_path: Path, fake: FakeRun) -> None:
    pretrain(corpus.folder, CONFIG, tmp_path)
    assert not fake.asked and (tmp_path / "tensorboard").exists()


def test_says_when_it_is_not_installed(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr("training.runtime.metric_writer.find_spec", lambda name: None)
    with pytest.raises(Fatal, match="wandb is not installed; run `pip install wandb`"):
        pretrain(corpus.folder, replace(CONFIG, wandb="earth"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
