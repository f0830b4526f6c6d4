"""A run of an earlier release, which knew one order of chips, goes on in that order; a new run has the new one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline import durable
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.progress import Silent
from tests.training.corpora import CONFIG
from training.config import PretrainConfig
from training.pretrain.train import RUN, pretrain
from training.weights import checkpoint

NEWER = ("order", "companions")
THEN = replace(CONFIG, order="blocks", read_rows=7)


class Stopped(Exception):
    """The user's patience ends."""


class Impatient(Silent):
    def __init__(self) -> None:
        self.steps = 0

    def advance(self, count: int = 1) -> None:
        self.steps += count
        if self.steps == 3:
            raise Stopped


def stopped(corpus: Corpus, folder: Path, config: PretrainConfig) -> Path:
    """A run of six steps that was stopped after three, one of them behind its checkpoint."""
    with pytest.raises(Stopped):
        pretrain(corpus.folder, config, folder, Impatient())
    return folder


def aged(folder: Path) -> Path:
    """As an earlier release would have left it."""
    for path in (folder / RUN, *(folder / checkpoint.CHECKPOINTS).glob("*.json")):
        content: dict[str, Any] = json.loads(path.read_text())
        content["config"] = {name: value for name, value in content["config"].items() if name not in NEWER}
        durable.write_json(path, content)
    return folder


def weights(path: Path) -> dict[str, torch.Tensor]:
    return checkpoint.read(path)["model"]


def test_an_old_run_goes_on_bit_for_bit_without_a_new_setting(corpus: Corpus, tmp_path: Path) -> None:
    whole = weights(pretrain(corpus.folder, THEN, tmp_path / "whole").checkpoint)
    folder = aged(stopped(corpus, tmp_path / "run", THEN))
    asked = replace(CONFIG, order="dealt", read_rows=PretrainConfig().read_rows)  # What the same command means today.
    resumed = weights(pretrain(corpus.folder, asked, folder).checkpoint)
    assert all(torch.equal(item, resumed[name]) for name, item in whole.items())
    assert json.loads((folder / RUN).read_text())["config"]["order"] == "blocks"


def test_orders_give_other_weights_and_are_not_mixed(corpus: Corpus, tmp_path: Path) -> None:
    folder = stopped(corpus, tmp_path / "run", THEN)
    with pytest.raises(Fatal, match="was begun with pretrain.order = 'blocks', not 'dealt'"):
        pretrain(corpus.folder, replace(THEN, order="dealt"), folder)
    old, new = (pretrain(corpus.folder, replace(THEN, order=order), tmp_path / order) for order in ("blocks", "dealt"))
    assert any(not torch.equal(item, weights(new.checkpoint)[name]) for name, item in weights(old.checkpoint).items())
