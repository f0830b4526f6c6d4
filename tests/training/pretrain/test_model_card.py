"""What a run leaves for people: a card whose every figure is the run's own, whose code runs, and pictures on time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline.corpus import Corpus
from tests.training.corpora import CONFIG
from training.pretrain.model_card import CARD
from training.pretrain.result import PretrainResult
from training.pretrain.train import pretrain


@pytest.fixture(scope="module")
def run(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PretrainResult]:
    folder = tmp_path_factory.mktemp("run")
    return folder, pretrain(corpus.folder, replace(CONFIG, pictures_every=4, seed=5), folder)


def table(text: str, heading: str) -> Iterator[list[str]]:
    """Cells of the rows below a table's heading."""
    for line in text.partition(heading)[2].splitlines()[2:]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split("|")]


def test_figures_are_the_runs_own(run: tuple[Path, PretrainResult], corpus: Corpus) -> None:
    folder, result = run
    text, facts = (folder / CARD).read_text(), json.loads((folder / "run.json").read_text())
    losses = {name: (first, last) for name, first, last in table(text, "| target | first | last |")}
    assert losses.keys() == result.last_losses.keys()
    assert all(losses[name] == (f"{result.first_losses[name]:.3f}", f"{last:.3f}")
               for name, last in result.last_losses.items())  # fmt: skip
    for said in (facts["corpus"][:16], "20 chips of 32 px: 16 train, 4 val, 0 test", "16 train chips", "`seed = 5`",
                 f"torch {facts['versions']['torch']}", f"{result.samples_per_s:.1f} chips/s"):  # fmt: skip
        assert said in text, said
    layers = {name: (bands, role) for name, bands, role, _ in table(text, "| layer | bands used")}
    assert layers["light"] == ("red green", "input and target") and layers["ground"] == ("class", "target")
    assert layers.keys() == set(corpus.modalities)


def test_its_code_runs(run: tuple[Path, PretrainResult], corpus: Corpus) -> None:
    folder, result = run
    (code,) = re.findall(r"```python\n(.*?)```", (folder / CARD).read_text(), re.DOTALL)
    stored = corpus.read("light", slice(0, 3))[:, [0, 2]]
    known = {"stored": stored, "groups": list(corpus.manifest.column("level")[:3])}
    exec(code.replace(f'"{result.weights.name}"', repr(str(result.weights))), known)  # noqa: S102
    assert known["features"].shape == (3, 128, 4, 4)


def test_a_relaunch_with_nothing_to_do_leaves_it(run: tuple[Path, PretrainResult], corpus: Corpus) -> None:
    folder, _ = run
    before = (folder / CARD).read_bytes()
    assert pretrain(corpus.folder, replace(CONFIG, pictures_every=4, seed=5), folder).samples_per_s == 0
    assert (folder / CARD).read_bytes() == before


def test_pictures_come_on_time_and_at_the_end(run: tuple[Path, PretrainResult]) -> None:
    folder, _ = run
    assert sorted(item.name for item in (folder / "pictures").glob("*.png")) == [
        "step-00000004.png",
        "step-00000006.png",
    ]
    log = EventAccumulator(str(folder / "tensorboard")).Reload()
    assert [item.step for item in log.Images("pictures")] == [4, 6]
    assert np.isfinite([item.value for item in log.Scalars("loss")]).all()
