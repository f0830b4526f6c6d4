"""Probing a run: labels that the images hold are found, the table says by how much, and refusals are sentences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from flows.probing import probe
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from tests.training.corpora import CONFIG, LIGHT, make_corpus
from training.architecture import SIZES
from training.data.label import labels_of
from training.evaluate.embedding import band_statistics, features_of
from training.evaluate.probe import linear_probe
from training.evaluate.probed import BANDS, RANDOM, THIS, probe_layer, untrained
from training.layer import layer_of
from training.model.encoder import Encoder
from training.model.normalisation import Normalisation
from training.pretrain.train import pretrain
from training.weights.pretrained import Pretrained


@pytest.fixture(scope="module")
def corpus_60(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("probed"), 60)


@pytest.fixture(scope="module")
def run(corpus_60: Corpus) -> Path:
    """Three steps are enough to be a run."""
    folder = corpus_60.folder / "runs" / "short"
    pretrain(corpus_60.folder, replace(CONFIG, steps=3, targets=("light", "ground")), folder)
    return folder


@pytest.mark.slow
def test_a_table_for_a_run_and_a_layer(run: Path, corpus_60: Corpus) -> None:
    result = probe(str(run), "echo", None, 5000).splitlines()
    assert result[0].startswith("echo: R2 on 8 val chips, fitted to 32 train chips")
    assert [line.strip().split("  ")[0] for line in result[2:]] == [THIS, RANDOM, BANDS]
    assert "pretrained to predict" in probe(str(run), "ground", corpus_60.folder, 5000)


def test_each_line_is_the_probe_that_one_would_make_by_hand(corpus_60: Corpus) -> None:
    normalisation = Normalisation.of([layer_of(corpus_60, LIGHT.name, {})])
    torch.manual_seed(0)
    result = probe_layer(corpus_60, Pretrained(Encoder(2, SIZES["zepto"], 8), normalisation), "ground")
    assert (result.measure, result.split, result.predicted) == ("accuracy", "val", False)
    layers = normalisation.layers_of(corpus_60.modalities)
    train, test = (labels_of(corpus_60, "ground", corpus_60.manifest.rows_of(split), 32) for split in ("train", "val"))
    seen = [features_of(corpus_60, layers, item.rows, 32, band_statistics) for item in (train, test)]
    by_hand = linear_probe(seen[0], train.values, seen[1], test.values)
    np.testing.assert_array_equal(result.probes[BANDS].losses, by_hand.losses)


def test_untrained_twins_differ_by_seed_alone() -> None:
    encoder = Encoder(2, SIZES["zepto"], 8)
    item, same, other = (untrained(encoder, seed).initial_conv[0].weight for seed in (1, 1, 2))
    assert torch.equal(item, same) and not torch.equal(item, other)
    assert float(item.detach().std()) == pytest.approx(0.02, rel=0.3)


def test_refuses_a_run_of_nowhere_and_a_layer_of_nowhere(run: Path, tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="say which corpus with --corpus"):
        probe(str(tmp_path), "echo", None, 5000)
    with pytest.raises(Fatal, match="unknown label 'ecko'; did you mean 'echo'"):
        probe(str(run), "ecko", None, 5000)
