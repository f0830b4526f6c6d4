"""The moving average of the weights is the recurrence, resumes exactly, and is what a run ends with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pipeline.corpus import Corpus
from tests.training.corpora import CONFIG
from training.pretrain.pretext_net import build_net
from training.pretrain.resolved_run import resolve_run
from training.pretrain.train import Trainer, pretrain
from training.weights import checkpoint
from training.weights.weights import load_encoder

AVERAGED = replace(CONFIG, ema=0.4, checkpoint_every=1, checkpoints_kept=10)


def states(folder: Path) -> list[dict]:
    return [checkpoint.read(path) for path in checkpoint.complete(folder / "checkpoints")]


@pytest.fixture(scope="module")
def run(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("averaged")
    pretrain(corpus.folder, AVERAGED, folder)
    return folder


def test_it_is_the_recurrence(corpus: Corpus, run: Path) -> None:
    """Step by step from the initial weights, with the weights of every checkpoint."""
    averages: dict[str, Tensor] = dict(build_net(resolve_run(corpus, AVERAGED)).named_parameters())
    for step, state in enumerate(states(run), start=1):
        decay = min(0.4, (1 + step) / (10 + step))
        averages = {name: decay * old + (1 - decay) * state["model"][name] for name, old in averages.items()}
        for name, expected in averages.items():
            torch.testing.assert_close(state["ema"][name], expected.detach(), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(state["ema"]["mask_token"], state["model"]["mask_token"])


def test_the_weights_of_a_run_are_the_average(run: Path) -> None:
    last = states(run)[-1]["ema"]
    for source in (run, run / "checkpoints" / "step-00000006.pt"):
        loaded = load_encoder(source).encoder.state_dict()
        assert all(torch.equal(item, last[f"encoder.{name}"]) for name, item in loaded.items())
    assert "`ema = 0.4`" in (run / "model_card.md").read_text()


def test_it_goes_on_where_it_was(corpus: Corpus, run: Path, tmp_path: Path) -> None:
    pretrain(corpus.folder, AVERAGED, tmp_path)
    for path in checkpoint.complete(tmp_path / "checkpoints")[3:]:
        path.with_suffix(".json").unlink()
    pretrain(corpus.folder, AVERAGED, tmp_path)
    whole, parts = states(run)[-1]["ema"], states(tmp_path)[-1]["ema"]
    assert all(torch.equal(item, parts[name]) for name, item in whole.items())


def test_training_is_the_same_with_and_without_it(corpus: Corpus, run: Path, tmp_path: Path) -> None:
    pretrain(corpus.folder, replace(AVERAGED, ema=0.0), tmp_path)
    plain = states(tmp_path)[-1]
    assert "ema" not in plain and "ema" not in resolve_run(corpus, CONFIG).identity["config"]
    assert all(torch.equal(item, plain["model"][name]) for name, item in states(run)[-1]["model"].items())


def test_without_an_average_nothing_is_copied(corpus: Corpus, tmp_path: Path) -> None:
    trainer = Trainer(resolve_run(corpus, CONFIG), tmp_path)
    assert trainer.average.net() is trainer.model
