"""A signal costs no step: the running one is finished and saved, and the relaunch goes on from there, bit by bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.corpus import Corpus
from tests.pipeline.test_stopping import BY_DEFAULT
from tests.training.corpora import CONFIG
from tests.training.pretrain.test_train import Recorder, assert_same_state
from training.config import PretrainConfig
from training.pretrain.train import pretrain
from training.weights.checkpoint import complete, step_of

RUN = """
import sys
from dataclasses import replace
from pathlib import Path
from pipeline import stopping
from pipeline.progress import Silent
from tests.training.corpora import CONFIG
from training.pretrain.train import pretrain

class Talk(Silent):
    steps = 0
    def advance(self, count=1):
        self.steps += 1
        if self.steps == 3:
            print("step 3", flush=True)
            sys.stdin.readline()

if __name__ == "__main__":
    stopping.install()
    steps, processes = int(sys.argv[3]), int(sys.argv[4])
    config = replace(
        CONFIG, checkpoint_every=1000, log_every=50, val_every=4, steps=steps, processes=processes
    )
    pretrain(Path(sys.argv[1]), config, Path(sys.argv[2]), Talk())
    print("end", flush=True)
"""
ROOT = Path(__file__).resolve().parents[3]
NOTICE = "\ngeocorpus: stops as soon as this step is done and kept; a second signal stops at once.\n"  # after 5 s
SENTENCE = "\ngeocorpus: stopped; run the same command again to go on.\n"


def stopped(corpus: Corpus, folder: Path, config: PretrainConfig, number: int, send: Callable[[int, int], None]) -> int:
    """The step at which a run was saved that got a signal after its third step."""
    script = folder.parent / "run.py"
    script.write_text(BY_DEFAULT + RUN)
    arguments = [str(corpus.folder), str(folder), str(config.steps), str(config.processes)]
    process = subprocess.Popen(
        [sys.executable, str(script), *arguments], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert process.stdout and process.stdout.readline() == "step 3\n", process.communicate()[1]
    send(process.pid, number)
    out, errors = process.communicate("\n", timeout=120)
    assert (process.returncode, out) == (128 + number, "")
    assert errors.endswith(SENTENCE) and errors.replace(NOTICE, "") == SENTENCE
    (saved,) = complete(folder / "checkpoints")
    return step_of(saved)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_process_saves_and_goes_on(corpus: Corpus, tmp_path: Path, number: int) -> None:
    config = replace(CONFIG, checkpoint_every=1000, log_every=50, val_every=4, steps=12)
    whole = pretrain(corpus.folder, config, tmp_path / "whole")
    assert stopped(corpus, tmp_path / "run", config, number, os.kill) == 4
    recorder = Recorder()
    rest = pretrain(corpus.folder, config, tmp_path / "run", recorder)
    assert recorder.began == (12, 4)
    assert_same_state(rest.checkpoint, whole.checkpoint)
    assert not (tmp_path / "run" / "logs").exists()
    # The look at the val chips that was due after the step of the signal was made up for.
    assert rest.validations == whole.validations and [item.step for item in rest.validations] == [0, 4, 8, 12]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "send"), [(signal.SIGTERM, os.kill), (signal.SIGINT, os.killpg)])
def test_two_processes_save_the_same_step(
    corpus: Corpus, tmp_path: Path, number: int, send: Callable[[int, int], None]
) -> None:
    """A terminal's Ctrl-C reaches all of them, SIGTERM one."""
    config = replace(CONFIG, checkpoint_every=1000, log_every=50, steps=150, processes=2)
    whole = pretrain(corpus.folder, config, tmp_path / "whole")
    step = stopped(corpus, tmp_path / "run", config, number, send)
    assert 3 <= step < 150
    recorder = Recorder()
    rest = pretrain(corpus.folder, config, tmp_path / "run", recorder)
    assert recorder.began == (150, step)
    assert_same_state(rest.checkpoint, whole.checkpoint)
