"""One run is trained by one command at a time: the second is refused, a dead one's place is taken at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.corpus import Corpus
from pipeline.errors import Fatal, Unwritable
from pipeline.lock import LOCK, SILENCE_S, holder_of, locked
from pipeline.progress import Progress, Silent
from tests.pipeline.test_stopping import BY_DEFAULT
from tests.training.corpora import CONFIG
from tests.training.pretrain.test_stopped import ROOT, RUN
from tests.training.pretrain.test_train import Recorder, assert_same_state
from training.config import PretrainConfig
from training.pretrain.run_lock import held
from training.pretrain.train import pretrain
from training.runtime import launch
from training.runtime.distributed_context import DistributedContext

ONE_OR_TWO = pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])


class Second(Silent):
    """Asks for the same run again after its first step, and keeps what that said."""

    def __init__(self, corpus: Corpus, config: PretrainConfig, folder: Path) -> None:
        self.arguments, self.refusals = (corpus.folder, config, folder), []

    def advance(self, count: int = 1) -> None:
        if self.refusals:
            return
        with pytest.raises(Fatal) as refused:
            pretrain(*self.arguments)
        self.refusals.append(str(refused.value))


@ONE_OR_TWO
def test_the_second_is_refused_and_the_first_is_not_disturbed(corpus: Corpus, tmp_path: Path, processes: int) -> None:
    config, folder = replace(CONFIG, processes=processes), tmp_path / "run"
    second = Second(corpus, config, folder)
    result = pretrain(corpus.folder, config, folder, second)
    holder = f"process {os.getpid()} on {os.uname().nodename}"
    assert second.refusals == [f"{holder} is working on {folder} already; wait for it or stop it."]
    assert not (folder / LOCK).exists()
    assert_same_state(result.checkpoint, pretrain(corpus.folder, config, tmp_path / "alone").checkpoint)


def _holds(folder: Path, progress: Progress) -> list[int]:
    """The process ids of the holder, of this process and of the first one."""
    context = DistributedContext.from_environment()
    with context.joined(torch.device("cpu")), held(folder, context, progress.say):
        holder = holder_of(folder)
        context.barrier()
        return [holder.pid if holder else 0, os.getpid(), context.broadcast(os.getpid())]


@pytest.mark.slow
def test_of_processes_that_others_started_the_first_holds_the_run(corpus: Corpus, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    holder, first, again = launch.together(_holds, (folder,), 2, Silent(), tmp_path / "logs")
    assert holder == first == again != os.getpid()
    with locked(folder), pytest.raises(Fatal, match=rf"process {os.getpid()} on .* is working on .*/run already"):
        launch.together(pretrain, (corpus.folder, CONFIG, folder), 2, Silent(), tmp_path / "logs")
    assert not folder.exists()


class TakenOver(Silent):
    """Another host takes the run over after the first step."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK

    def advance(self, count: int = 1) -> None:
        other = self.path.with_name("other.json")
        other.write_text('{"host": "node2", "pid": 7, "started": "1", "token": "another"}')
        other.replace(self.path)


@ONE_OR_TWO
def test_a_run_that_was_taken_over_ends_before_it_writes(corpus: Corpus, tmp_path: Path, processes: int) -> None:
    config = replace(CONFIG, processes=processes, checkpoint_every=20, steps=400)
    with pytest.raises(Unwritable, match="process 7 on node2 has taken over"):
        pretrain(corpus.folder, config, tmp_path, TakenOver(tmp_path))
    assert not (tmp_path / "encoder.safetensors").exists()


@ONE_OR_TWO
def test_after_kill_9_the_next_goes_on_at_once(corpus: Corpus, tmp_path: Path, processes: int) -> None:
    folder, script = tmp_path / "run", tmp_path / "run.py"
    script.write_text(BY_DEFAULT + RUN.replace("checkpoint_every=1000", "checkpoint_every=1"))
    process = subprocess.Popen(
        [sys.executable, str(script), str(corpus.folder), str(folder), "12", str(processes)], cwd=ROOT, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout and process.stdout.readline() == "step 3\n"
    holder = holder_of(folder)
    assert holder and holder.pid == process.pid
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    assert (folder / LOCK).exists(), "kill -9 leaves the file"
    config = replace(CONFIG, checkpoint_every=1, log_every=50, val_every=4, steps=12, processes=processes)
    recorder = Recorder()
    pretrain(corpus.folder, config, folder, recorder)
    assert recorder.began[1] >= 3 and not (folder / LOCK).exists()
    assert not any(f"{SILENCE_S:.0f} s" in said for said in recorder.said)


@ONE_OR_TWO
def test_a_refusal_leaves_no_folder(tmp_path: Path, processes: int) -> None:
    with pytest.raises(Fatal):
        pretrain(tmp_path / "c", replace(CONFIG, processes=processes), tmp_path / "c" / "runs" / "one")
    assert not (tmp_path / "c").exists()
