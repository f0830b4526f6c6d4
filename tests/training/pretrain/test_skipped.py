"""A step that is not finite is skipped and recorded, the run goes on, and a resumed run is the same run."""

from __future__ import annotations

import math
import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from tests.training.bad_chips import with_bad_chip
from tests.training.corpora import CONFIG, ECHO, GROUND, LIGHT
from tests.training.pretrain.test_train import Recorder, Stopped, assert_same_state, logged_losses
from tests.training.sensor_corpus import CONTRASTIVE
from training.pretext import Objective
from training.pretrain.resolved_run import resolve_run
from training.pretrain.train import Trainer, pretrain
from training.weights import checkpoint

ROW = 7  # a train row; each epoch of four steps has it once


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """A corpus in which one chip is bad."""
    return with_bad_chip(tmp_path_factory.mktemp("bad") / "corpus", ROW)


def bad_steps(corpus: Corpus, steps: int = 6) -> list[int]:
    loader = resolve_run(corpus, CONFIG).loader
    return [step + 1 for step in range(steps) if ROW in loader.batch(step).rows]


def test_the_run_goes_on_and_says_what_it_skipped(bad: Corpus, tmp_path: Path) -> None:
    recorder, expected = Recorder(), bad_steps(bad)
    result = pretrain(bad.folder, replace(CONFIG, micro_batch=2, log_every=50), tmp_path, recorder)
    assert expected and [item.step for item in result.skipped] == expected and result.steps == 6
    first = result.skipped[0]
    assert ROW in first.rows and "'echo'" in first.cause
    kept = tmp_path / f"bad-batch-step-{first.step:08d}.pt"
    assert re.fullmatch(
        rf"Skipped step {first.step} \(rows? .*\), as .*'echo'.*; .* kept in {kept}\.", recorder.said[0]
    )
    assert len(recorder.said) == len(expected)
    assert ROW in torch.load(kept, weights_only=True)["rows"]
    assert [event.step for event in logged_losses(tmp_path)] == [step for step in range(1, 7) if step not in expected]
    scalars = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in scalars.Scalars("skipped_steps")] == expected
    assert "skipped/text_summary" in scalars.Tags()["tensors"]
    card = (tmp_path / "model_card.md").read_text()
    assert f"{len(expected)} of 6 steps: step {first.step} (row" in card and first.cause in card


def test_a_skipped_step_changes_nothing_and_the_next_does(bad: Corpus) -> None:
    resolved = resolve_run(bad, CONFIG)
    trainer = Trainer(resolved, bad.folder / "never")
    (first, *_) = bad_steps(bad, 4)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer._take_step([resolved.loader.batch(first - 1)])
    after = trainer.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(float(item["step"]) == 0 for item in trainer.stepper.optimiser.state.values())
    trainer._take_step([resolved.loader.batch(first % 4)])
    assert any(not torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("patience", [1, 2, 3, 4, 5])
def test_resumed_it_is_the_same_run(bad: Corpus, tmp_path: Path, patience: int) -> None:
    config = replace(CONFIG, checkpoint_every=1)
    whole = pretrain(bad.folder, config, tmp_path / "whole")
    with pytest.raises(Stopped):
        pretrain(bad.folder, config, tmp_path / "parts", Recorder(patience))
    rest = pretrain(bad.folder, config, tmp_path / "parts")
    assert_same_state(rest.checkpoint, whole.checkpoint)
    assert rest.skipped == whole.skipped and whole.skipped


def exploding(corpus: Corpus, folder: Path, sane_steps: int, **changes: object) -> Trainer:
    trainer = Trainer(resolve_run(corpus, replace(CONFIG, checkpoint_every=1, **changes)), folder)
    sane = trainer._rate
    trainer._rate = lambda step: sane(step) if step < sane_steps else 1e30  # type: ignore[method-assign]
    return trainer


def test_so_many_in_a_row_stop_it(corpus: Corpus, tmp_path: Path) -> None:
    """The update at step 4 explodes, so steps 5, 6, 7 are bad; a stop in between does not start the count anew."""
    said = r"at step 7, the last of 3 in a row that were not finite, the loss of .*; lower pretrain.blr .*; .* kept in"
    with pytest.raises(Fatal, match=said):
        exploding(corpus, tmp_path, 3, steps=12).run(Recorder())
    names = [path.name for path in sorted((tmp_path / "checkpoints").glob("*.pt"))]
    assert names == ["step-00000005.pt", "step-00000006.pt"]
    with pytest.raises(Fatal, match="at step 7, the last of 3 in a row"):
        exploding(corpus, tmp_path, 3, steps=12).run(Recorder())
    state = checkpoint.read(tmp_path / "checkpoints" / names[-1])
    assert [item["step"] for item in state["skipped"]] == [5, 6]


@pytest.mark.parametrize(("good", "trained"), [((), False), ((1,), True), ((2,), True)])
def test_a_run_without_one_step_taken_has_no_encoder(
    corpus: Corpus, tmp_path: Path, good: tuple[int, ...], trained: bool
) -> None:
    """Fewer steps than `bad_steps`: nothing stops it before its end, nor when it is asked for again."""
    resolved = resolve_run(corpus, replace(CONFIG, steps=2))
    trainer, steps = Trainer(resolved, tmp_path), iter((1, 2))
    trainer.stepper._is_bad = lambda *parts: torch.tensor(float(next(steps) not in good))  # type: ignore[method-assign]
    with nullcontext() if trained else pytest.raises(Fatal, match="none of the 2 steps changed a weight, the last bec"):
        trainer.run(Recorder())
    with nullcontext() if trained else pytest.raises(Fatal, match="no encoder is written: mend that, and start a run"):
        Trainer(resolved, tmp_path).run(Recorder())
    assert (tmp_path / "encoder.safetensors").exists() == (tmp_path / "model_card.md").exists() == trained


def test_a_step_that_is_looked_at_late_says_so(corpus: Corpus, tmp_path: Path) -> None:
    """One loss is broken once and sane when it is looked at, as the steps after it were taken."""
    trainer = Trainer(resolve_run(corpus, replace(CONFIG, log_every=6, checkpoint_every=6)), tmp_path)
    sane, calls = trainer.stepper._is_bad, iter(range(1, 7))
    trainer.stepper._is_bad = lambda *parts: torch.ones(()) if next(calls) == 3 else sane(*parts)  # type: ignore[method-assign]
    result = trainer.run(Recorder())
    (skipped,) = result.skipped
    assert skipped.step == 3 and skipped.cause.startswith("the loss or the gradients were not finite, and are (looked")
    assert "under the weights after step 6" in skipped.cause


def test_a_resumed_run_may_have_less_patience(corpus: Corpus, tmp_path: Path) -> None:
    """Two bad steps are behind it and one more is the last, but a good one is taken."""
    trainer = Trainer(resolve_run(corpus, replace(CONFIG, bad_steps=2)), tmp_path)
    trainer.stepper.go_on_after(2)
    trainer._take_step([trainer.resolved.loader.batch(0)])
    assert trainer.metrics.fetch(1)[0].finite


def test_after_too_many_the_weights_wait_for_the_host(bad: Corpus) -> None:
    resolved = resolve_run(bad, CONFIG)
    trainer = Trainer(resolve_run(bad, replace(CONFIG, bad_steps=2)), bad.folder / "never")
    broken, sane = (resolved.loader.batch(step) for step in (bad_steps(bad)[0] - 1, bad_steps(bad)[0] % 4))
    for batch in (broken, broken, sane):
        trainer._take_step([batch])
    assert [item.finite for item in trainer.metrics.fetch(3)] == [False, False, False]
    assert all(float(item["step"]) == 0 for item in trainer.stepper.optimiser.state.values())


def test_a_loss_that_is_not_finite_skips_even_if_its_gradients_are(corpus: Corpus) -> None:
    step = Trainer(resolve_run(corpus, CONFIG), corpus.folder / "never").stepper

    def bad(total: float, loss: float, norm: float) -> bool:
        objective = Objective(torch.tensor(total), torch.tensor([1.0, loss]), torch.ones(2) > 0)
        return bool(step._is_bad(objective, torch.tensor(norm)))

    assert bad(1, math.inf, 3) and bad(math.nan, 2, 3) and not bad(1, 2, 3) and bad(1, 2, math.inf)


def test_losses_without_a_graph_are_examined_too(tmp_path: Path) -> None:
    """The losses of a contrastive net are for the log; with two chips of a step sane, the third is still found."""
    corpus = with_bad_chip(tmp_path / "corpus", ROW, modalities=(LIGHT, ECHO, GROUND))
    result = pretrain(corpus.folder, replace(CONTRASTIVE, micro_batch=1, blr=1e-4), tmp_path / "run")
    assert result.skipped and all(item.rows == (ROW,) and "'echo'" in item.cause for item in result.skipped)


def test_only_so_many_files_are_kept(bad: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.pretrain.skipped_steps._FILES_KEPT", 1)
    recorder = Recorder()
    result = pretrain(bad.folder, replace(CONFIG, steps=8), tmp_path, recorder)
    assert len(result.skipped) == 2 and len(list(tmp_path.glob("bad-batch-*.pt"))) == 1
    assert "the chips of the first 1 such steps are kept" in recorder.said[1]


@pytest.mark.slow
def test_two_processes_skip_the_same_and_resume_exactly(bad: Corpus, tmp_path: Path) -> None:
    config = replace(CONFIG, processes=2, checkpoint_every=1)
    whole = pretrain(bad.folder, config, tmp_path / "whole")
    assert [item.step for item in whole.skipped] == bad_steps(bad)
    with pytest.raises(Stopped):
        pretrain(bad.folder, config, tmp_path / "parts", Recorder(bad_steps(bad)[0]))
    rest = pretrain(bad.folder, config, tmp_path / "parts")
    assert rest.skipped == whole.skipped
    assert_same_state(rest.checkpoint, whole.checkpoint)
