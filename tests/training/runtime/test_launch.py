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
    assert done.stdout.count("6 steps, encoder") == 1
    losses = [event.value for event in logged_losses(folder / "runs" / "mine")]
    assert losses == pytest.approx(alone, rel=TOLERANCE)


class Killer(Recorder):
    """Kills the second process after some steps."""

    def advance(self, count: int = 1) -> None:
        if len(self.losses) == 3:
            second = next(child for child in multiprocessing.active_children() if child.name == "pretrain-1")
            os.kill(second.pid, signal.SIGKILL)


def test_when_one_is_killed_all_end_with_one_sentence(corpus: Corpus, alone: list[float], tmp_path: Path) -> None:
    said = r"process 2 of 2 was ended by signal 9; .* lower pretrain.micro_batch, .* again to go on; .* is in .*/logs\."
    with pytest.raises(Transient, match=said):
        pretrain(corpus.folder, TWO, tmp_path, Killer())
    assert not multiprocessing.active_children()
    rest = Recorder()
    pretrain(corpus.folder, CONFIG, tmp_path, rest)
    assert rest.began[1] in (2, 4)
    assert rest.losses == pytest.approx(alone[rest.began[1] :], rel=TOLERANCE)


DIES = """
import os
import sys
from dataclasses import replace
from pathlib import Path
from tests.training.corpora import CONFIG
from pipeline.errors import GeocorpusError
from pipeline.progress import Silent
from training.pretrain.train import Trainer, pretrain

slice_of = Trainer._take_step

def step(self, parts):
    if self.context.rank == 1 and self.step == 3:
        print("last words", flush=True)
        if sys.argv[3] == "exit":
            os._exit(7)
        raise RuntimeError("no more")
    slice_of(self, parts)

Trainer._take_step = step

if __name__ == "__main__":
    try:
        pretrain(Path(sys.argv[1]), replace(CONFIG, processes=2, micro_batch=1), Path(sys.argv[2]), Silent())
    except GeocorpusError as error:
        print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("exit", "Transient process 2 of 2 ended with code 7; run the same command again to go on; what the processes "
                 "printed is in {logs}.\n"),
        ("error", "Fatal a training process failed: RuntimeError: no more; what it printed is in "
                  "{logs}/process-2.log.\n"),
    ],
)  # fmt: skip
def test_one_that_dies_leaves_one_sentence_and_a_log(corpus: Corpus, tmp_path: Path, how: str, said: str) -> None:
    """No traceback of the others' connections: what they print is in the run's folder."""
    (tmp_path / "dies.py").write_text(DIES)
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, str(tmp_path / "dies.py"), str(corpus.folder), str(tmp_path / "run"), how], cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True,
    )  # fmt: skip
    logs = tmp_path / "run" / "logs"
    assert (done.stdout, done.stderr) == (said.format(logs=logs), "")
    assert "last words" in (logs / "process-2.log").read_text()
    assert "Traceback" in (logs / "process-1.log").read_text(), "the other lost its connection"


def test_what_one_refuses_is_refused_once(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="a batch of 1 chips is too small for 2 processes"):
        pretrain(corpus.folder, replace(TWO, batch_size=1), tmp_path)
    assert not list(tmp_path.iterdir())
