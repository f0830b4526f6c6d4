"""A column of the owner's table is a label for probes and fine-tuning, and a group of statistics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from tests.pipeline.own_tables import VALUES, make_own_manifest
from tests.training.corpora import ALL, LIGHT, make_corpus
from training.architecture import SIZES
from training.data.chip_dataset import ChipDataset
from training.data.label import labels_of, own_label
from training.data.own_label import OwnLabel
from training.evaluate.probed import probe_layer
from training.evaluate.samples import chip_samples, pixel_samples
from training.layer import groups_of, layer_of
from training.model.encoder import Encoder
from training.model.normalisation import Normalisation
from training.weights.pretrained import Pretrained


@pytest.fixture(scope="module")
def corpus_60(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("own"), 60, manifest_of=make_own_manifest)


@pytest.mark.parametrize(
    ("name", "classes"),
    [("crop", ('a "b",\nc', "maize")), ("irrigated", ("False", "True")), ("plot", ("-7", str(2**53)))],
)
def test_texts_booleans_and_whole_numbers_are_classes(corpus_60: Corpus, name: str, classes: tuple[str, ...]) -> None:
    label = own_label(corpus_60, name)
    assert label is not None and label.classes == classes
    for row, chip in enumerate(corpus_60.manifest):
        index = int(label.values[row])
        assert (index == -1) == (chip.own[name] is None)
        assert index == -1 or name == "plot" or classes[index] == str(chip.own[name])
    labels = labels_of(corpus_60, name, np.arange(40), 32)
    assert len(labels.rows) == (label.values[:40] >= 0).sum() and labels.values.dtype == np.int64


def test_other_numbers_are_numbers(corpus_60: Corpus) -> None:
    labels = labels_of(corpus_60, "yield_t", np.arange(60), 32)
    assert labels.values.shape == (40, 1) and set(labels.values[:, 0]) == set(VALUES["yield_t"]) - {None}


def test_what_is_no_label_is_refused_in_a_sentence(corpus_60: Corpus) -> None:
    for name, words in (("sown", "date32.* values, which are no label"), ("crops", "unknown label 'crops'.*'crop'")):
        with pytest.raises(Fatal, match=words):
            own_label(corpus_60, name)
    assert own_label(corpus_60, "ground") is None
    with pytest.raises(Fatal, match="'n' has 1001 different values, too many for classes"):
        OwnLabel._of_classes(np.arange(1001), "n")


def test_a_probe_and_samples_of_a_column(corpus_60: Corpus) -> None:
    normalisation = Normalisation.of([layer_of(corpus_60, LIGHT.name, {})])
    torch.manual_seed(0)
    encoder = Pretrained(Encoder(2, SIZES["zepto"], 8), normalisation)
    assert probe_layer(corpus_60, encoder, "crop").measure == "accuracy"
    assert probe_layer(corpus_60, encoder, "yield_t").measure == "R2"
    samples = chip_samples(corpus_60, normalisation, "crop", "train", 32)
    assert samples.classes == ('a "b",\nc', "maize") and set(samples.labels.tolist()) == {0, 1}
    numbers = chip_samples(corpus_60, normalisation, "yield_t", "train", 32)
    assert (numbers.kind, numbers.classes) == ("regression", ("yield_t",)) and numbers.labels.dtype == np.float64
    with pytest.raises(Fatal, match="column 'crop' has one value per chip"):
        pixel_samples(corpus_60, normalisation, "crop", "train", 32)


def test_a_column_is_a_group_of_statistics(tmp_path: Path) -> None:
    by_crop = tuple(replace(each, statistics_by="crop" if each is LIGHT else None) for each in ALL)
    corpus = make_corpus(tmp_path, 20, by_crop, manifest_of=make_own_manifest)
    corpus.finalize()
    layer = layer_of(corpus, LIGHT.name, {})
    assert set(groups_of(corpus, layer)) == {str(crop) for crop in VALUES["crop"]}
    assert set(layer.groups) <= {str(crop) for crop in VALUES["crop"]} and len(layer.groups) > 1


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_carry_the_columns(corpus_60: Corpus, workers: int) -> None:
    dataset = ChipDataset(corpus_60, ["light"], split=None)
    own = dataset[3]["chip"]["own"]
    assert set(own) == set(VALUES) - {"field"}
    batch = next(iter(DataLoader(dataset, batch_size=6, num_workers=workers)))["chip"]["own"]
    assert batch["yield_t"].dtype == torch.float64 and len(batch["crop"]) == 6
    crops = [corpus_60.manifest[row].own["crop"] or "" for row in range(6)]
    assert batch["crop"] == crops
    assert "own" not in ChipDataset(make_corpus(corpus_60.folder.parent / "plain"), ["light"])[0]["chip"]
