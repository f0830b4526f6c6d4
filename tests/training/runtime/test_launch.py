"""Several processes train as one does, take a run over from one, and end together with one sentence."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import tomli_w

from pipeline.corpus import Corpus
from pipeline.errors import Fatal, Transient
from tests.rivals import rivals
from tests.training.corpora import CONFIG
from tests.training.pretrain.test_train import Recorder, Stopped, logged_losses
from training.pretrain.train import pretrain

pytestmark = pytest.mark.slow
TWO = replace(CONFIG, processes=2, micro_batch=1)
TOLERANCE = 2e-4  # Sums of float32 in another order, over six steps.


@pytest.fixture(scope="module")
def alone(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """The losses of one process."""
    recorder = Recorder()
    pretrain(corpus.folder, CONFIG, tmp_path_factory.mktemp("alone"), recorder)
    return recorder.losses


def test_two_processes_go_on_where_one_stopped(
    corpus: Corpus, alone: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Stopped):
        pretrain(corpus.folder, CONFIG, tmp_path, Recorder(2))
    monkeypatch.chdir(rivals(tmp_path.parent / "rivals"))  # spawned processes import what this one does
    rest = Recorder()
    result = pretrain(corpus.folder, TWO, tmp_path, rest)
    assert rest.began == (6, 2) and result.steps == 6 and result.samples_per_s > 0
    assert rest.losses == pytest.approx(alone[2:], rel=TOLERANCE)
    assert [event.step for event in logged_losses(tmp_path)] == [1, 2, 3, 4, 5, 6]
    assert not multiprocessing.active_children()


def test_under_torchrun_the_curve_is_the_same(corpus: Corpus, alone: list[float], tmp_path: Path) -> None:
    """The command that the documentation shows; one of the two speaks."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for part in corpus.folder.iterdir():
        (folder / part.name).symlink_to(part)
    data = {"corpus": {"folder": str(folder)}, "pretrain": TWO.to_dict() | {"run": "mine"}}
    (tmp_path / "config.toml").write_text(tomli_w.dumps(data))
    torchrun = [str(Path(sys.executable).with_name("torchrun")), "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, "-m", "geocorpus", "pretrain", str(tmp_path / "config.toml")],
        cwd=rivals(tmp_path / "rivals"), env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("6 steps") == 1
    losses = [event.value for event in logged_losses(folder / "runs" / "mine")]
    assert losses == pytest.approx(alone, rel=TOLERANCE)


class Killer(Recorder):
    """Kills the second process after some steps."""

    def advance(self, count: int = 1) -> None:
        if len(self.losses) == 3:
            second = next(child for child in multiprocessing.active_children() if child.name == "pretrain-1")
            os.kill(second.pid, signal.SIGKILL)


def test_when_one_is_killed_all_end_with_one_sentence(corpus: Corpus, alone: list[float], tmp_path: Path) -> None:
    with pytest.raises(Transient, match=r"process 2 of 2 was ended by signal 9; .* lower pretrain.micro_batch"):
        pretrain(corpus.folder, TWO, tmp_path, Killer())
    assert not multiprocessing.active_children()
    rest = Recorder()
    pretrain(corpus.folder, CONFIG, tmp_path, rest)
    assert rest.began[1] in (2, 4)
    assert rest.losses == pytest.approx(alone[rest.began[1] :], rel=TOLERANCE)


def test_what_one_refuses_is_refused_once(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="a batch of 1 chips is too small for 2 processes"):
        pretrain(corpus.folder, replace(TWO, batch_size=1), tmp_path)
    assert not list(tmp_path.iterdir())
