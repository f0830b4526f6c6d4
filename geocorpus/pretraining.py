"""Pretraining from Python: the stage `geocorpus pretrain` with its settings as arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from geocorpus.shown import shown
from pipeline import arguments
from pipeline.corpus_folder import refuse_read_only
from pipeline.errors import Fatal
from pipeline.lock import RUNS
from pipeline.progress import Progress
from training.config import PretrainConfig
from training.pretrain.result import PretrainResult
from training.pretrain.train import pretrain as train


def pretrain(
    folder: str | Path, run: str = "pretrain", progress: Progress | None = None, **settings: Any
) -> PretrainResult:
    """Train an encoder on the corpus in `folder`, or go on where an earlier call of the same was stopped.

    `settings` are those of the section `[pretrain]`: `preset`, `pretext` and the fields of `PretrainConfig`. The run is
    kept in `runs/<run>` of the folder, as the command keeps it. Without `progress` it is shown in a notebook and on a
    terminal. Raises `Fatal` for an unknown setting, one that does not fit the corpus, a folder that is none or may
    only be read, or a loss that is no number.
    """
    if not isinstance(run, str) or Path(run).name != run or run in ("", ".", ".."):
        raise Fatal(f"a run cannot be called {run!r}: give one name, of a folder below {RUNS}/.")
    corpus_folder = arguments.path("the folder of a corpus", folder)
    refuse_read_only(corpus_folder)
    config = PretrainConfig.from_dict(settings)
    with shown(progress) as told:
        return train(corpus_folder, config, corpus_folder / RUNS / run, told)
