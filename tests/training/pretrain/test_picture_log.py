"""Which chips a run draws, and when."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from pipeline.corpus import Corpus
from tests.training.corpora import CONFIG, make_corpus
from tests.training.sensor_corpus import make_sensors
from training.methods.mpmae import MPMAE
from training.pretrain.picture_log import DRAWN, PICTURES, PictureLog, rows_to_draw, sample_of
from training.pretrain.resolved_run import resolve_run
from training.runtime.device import Device
from training.runtime.metric_writer import MetricWriter


def test_finished_val_chips_are_drawn(corpus: Corpus) -> None:
    resolved = resolve_run(corpus, CONFIG)
    rows = rows_to_draw(resolved)
    assert len(rows) == 3 and (corpus.manifest.column("split")[rows] == "val").all()
    assert sample_of(resolved, rows).names[0] == f"{corpus.manifest.column('id')[rows[0]]}\nval"


def test_without_val_chips_train_chips_are_drawn(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus", 6)
    without = resolve_run(corpus, CONFIG)
    val = corpus.manifest.rows_of("val")
    assert len(val) == 2 and list(rows_to_draw(without)) == list(val)
    assert list(rows_to_draw(replace(without, corpus=_train_only(corpus)))) == list(without.loader.rows[:3])


def test_chips_are_drawn_that_together_have_every_layer(tmp_path: Path) -> None:
    corpus = make_sensors(tmp_path / "corpus", 40)
    resolved = resolve_run(corpus, replace(CONFIG, inputs=("light",), targets=("echo", "ground")))
    rows = rows_to_draw(resolved)
    assert len(rows) == 3 and list(rows) == sorted(rows) and not (rows % 4 == 1).any(), "these have no echo"
    first = corpus.manifest.rows_of("val")[:3]
    assert (first % 4 == 1).any(), "the first ones would have lacked it"


def _train_only(corpus: Corpus) -> Corpus:
    """The same corpus seen through a manifest whose val rows belong to nobody."""

    class Bare:
        def __getattr__(self, name: str) -> object:
            return getattr(corpus.manifest, name)

        def rows_of(self, split: str) -> np.ndarray:
            return corpus.manifest.rows_of(split)[: 0 if split == "val" else None]

    bare = Corpus.open(corpus.folder)
    bare.manifest = Bare()  # type: ignore[assignment]
    return bare


def test_pictures_come_when_due_and_at_the_end(corpus: Corpus, tmp_path: Path) -> None:
    resolved = resolve_run(corpus, replace(CONFIG, steps=5, pictures_every=2))
    torch.manual_seed(0)
    model, log = MPMAE(resolved.inputs, resolved.targets, resolved.config), PictureLog(resolved, tmp_path)
    for step in range(1, 6):
        log.draw_when_due(model, Device.of(CONFIG), step, MetricWriter())
    names = sorted(path.name for path in (tmp_path / PICTURES).iterdir())
    assert names == [DRAWN, *(f"step-{step:08d}.png" for step in (2, 4, 5))]
    drawn = json.loads((tmp_path / PICTURES / DRAWN).read_text())
    assert drawn == corpus.manifest.column("id")[rows_to_draw(resolved)].tolist()
