"""Fine-tuning on every kind of labels, images of any size, and samples that stay in files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from pipeline import durable
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.progress import Silent
from tests.training.evaluate.test_finetune import QUICK, fields, make_pretrained, stripes
from training.evaluate.finetune import finetune
from training.evaluate.finetuned import load_finetuned
from training.evaluate.fit import fitted, unfitted
from training.evaluate.lazy_samples import LazySamples
from training.evaluate.own_moments import own_moments
from training.evaluate.samples import Samples, chip_samples, pixel_samples
from training.evaluate.tasks.single_label import SingleLabel
from training.layer import layer_of
from training.model.normalisation import Normalisation
from training.weights.weights import _read


class Said(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def several(count: int, seed: int) -> Samples:
    """Two labels: whether a band is striped; an image may have both or none."""
    found = stripes(count, seed)
    random = np.random.default_rng([seed, 1])
    labels = random.integers(0, 2, (count, 2))
    images = random.normal(100, 10, found.stored["bands"].shape)
    images += labels[:, :, None, None] * 60.0 * (np.arange(16) % 4 < 2)
    return Samples({"bands": images.astype(np.int16)}, labels, ("first", "second"), kind="multi-label")


def numbers(count: int, seed: int, per: str) -> Samples:
    """How bright the first band is, in tonnes, of an image or of each pixel."""
    waves = fields(count, seed)
    images = waves.stored["bands"].astype(np.float64)
    if per == "image":
        images += np.random.default_rng([seed, 2]).uniform(-60, 60, (count, 1, 1, 1))
    values = 5e3 + 20 * images[:, :1]
    labels = values if per == "pixel" else values.mean(axis=(2, 3))
    return Samples({"bands": images.astype(np.int16)}, labels, ("tonnes",), kind="regression")


def test_learns_several_labels_of_an_image(tmp_path: Path) -> None:
    tuned = finetune(make_pretrained(), several(48, 0), replace(QUICK, epochs=16))
    figures = tuned.score(several(40, 1)).figures()
    assert figures["micro_f1"] > 0.9 and figures["mean_average_precision"] > 0.9
    tuned.save(tmp_path / "tuned.safetensors")
    again = load_finetuned(tmp_path / "tuned.safetensors")
    assert again.task == tuned.task and np.array_equal(again.predict(several(8, 2)), tuned.predict(several(8, 2)))
    with pytest.raises(Fatal, match="kind 'multi-label', and has no probabilities"):
        again.probabilities(several(2, 2).stored, "")
    with pytest.raises(Fatal, match="samples are of kind 'single-label', and the model of 'multi-label'"):
        again.score(stripes(8, 0))


@pytest.mark.parametrize("per", ["image", "pixel"])
def test_learns_numbers_in_their_own_units(per: str, tmp_path: Path) -> None:
    tuned = finetune(make_pretrained(), numbers(32, 0, per), replace(QUICK, epochs=12, blr=0.3))
    test = numbers(24, 1, per)
    assert tuned.score(test).figures()["r2"] > 0.4
    tuned.save(tmp_path / "tuned.safetensors")
    again = load_finetuned(tmp_path / "tuned.safetensors")
    assert np.array_equal(again.predict(test), tuned.predict(test)) and 3e3 < again.predict(test).mean() < 1e4


@pytest.mark.parametrize("fit", ["pad", "resize", "crop"])
def test_images_of_any_size_are_fitted_and_it_is_said(fit: str) -> None:
    said = Said()
    recipe = replace(QUICK, epochs=1, fit=fit)
    tuned = finetune(make_pretrained(), stripes(8, 0, 20), recipe, said)
    side = 16 if fit == "crop" else 24
    assert any(f"20 x 20 px are {fit}" in line and f"to {side} x {side} px" in line for line in said.lines)
    assert tuned.predict(stripes(4, 1, 20)).shape == (4,)
    wide = Samples({"bands": np.zeros((4, 2, 20, 12), np.int16)}, np.zeros((4, 20, 12), int), ("a", "b"))
    assert finetune(make_pretrained(), wide, recipe).predict(wide).shape == (4, 20, 12)
    quiet = Said()
    finetune(make_pretrained(), stripes(8, 0), recipe, quiet)
    assert not quiet.lines


def test_what_padding_and_cropping_do_to_pixels() -> None:
    image = torch.arange(1.0, 13).reshape(1, 1, 3, 4)
    padded = fitted(image, 4, "pad")
    assert padded.shape == (1, 1, 4, 4) and torch.equal(padded[..., :3, :], image) and not padded[..., 3, :].any()
    assert torch.equal(unfitted(padded, (3, 4), "pad"), image)
    cropped = fitted(image, 2, "crop")
    back = unfitted(cropped, (3, 4), "crop")
    assert torch.equal(back[..., :2, :], image[..., :2, :]) and torch.equal(back[..., 2, :], image[..., 1, :])
    with pytest.raises(Fatal, match="smaller than the 8 px patch"):
        fitted(image, 8, "crop")


def test_samples_in_files_train_as_those_in_memory_and_few_stay() -> None:
    whole = stripes(24, 0)
    reads: list[int] = []

    def read(index: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        reads.append(index)
        return {"bands": whole.stored["bands"][index]}, whole.labels[index]

    recipe = replace(QUICK, epochs=2)
    lazy = LazySamples(read, 24, SingleLabel(whole.classes))
    ours, theirs = (finetune(make_pretrained(), source, recipe) for source in (whole, lazy))
    assert ours.losses == theirs.losses and len(reads) == 24
    assert ours.score(whole).accuracy == theirs.score(lazy).accuracy
    reads.clear()
    small = LazySamples(read, 24, SingleLabel(whole.classes), cache_bytes=3 * whole.stored["bands"][0].nbytes)
    for _ in range(2):
        small.of(np.arange(24))
    assert len(reads) == 48, "what was used longest ago is dropped"
    small.of(np.array([23, 22]))
    assert len(reads) == 48
    with pytest.raises(Fatal, match="images of one data set must have one size"):
        LazySamples(lambda i: ({"bands": np.zeros((2, 8, 8 * (i + 1)))}, 0), 2, SingleLabel(("a",))).of(np.arange(2))


def test_own_moments_take_other_numbers() -> None:
    pretrained, random = make_pretrained(), np.random.default_rng(0)
    images = random.normal([[[[0.2]], [[0.6]]]], 0.05, (20, 2, 16, 16)).astype(np.float32)
    images[0, 0, :2] = np.nan
    own = own_moments(pretrained.normalisation, [{"bands": images[:9]}, {"bands": images[9:]}])
    image = own.image({"bands": images}).numpy()
    np.testing.assert_allclose(image.mean(axis=(0, 2, 3)), 0, atol=1e-3)
    np.testing.assert_allclose(image.std(axis=(0, 2, 3)), 1, atol=1e-2)
    assert not image[0, 0, :2].any(), "no data is the mean"
    samples = Samples({"bands": images}, np.arange(20) % 2, ("a", "b"))
    tuned = finetune(replace(pretrained, normalisation=own), samples, replace(QUICK, epochs=1))
    assert tuned.predict(samples).shape == (20,)
    with pytest.raises(Fatal, match="band 1 of 'bands' has no data"):
        own_moments(pretrained.normalisation, [{"bands": np.where([[[[0.0]], [[1.0]]]], np.nan, images)}])


def test_numbers_of_a_corpus_are_regressed(corpus: Corpus) -> None:
    normalisation = Normalisation.of([layer_of(corpus, "light", {})])
    chips = chip_samples(corpus, normalisation, "weather", "train", 24)
    assert chips.kind == "regression" and chips.labels.ndim == 2 and len(chips.classes) == chips.labels.shape[1]
    pixels = pixel_samples(corpus, normalisation, "echo", "train", 24)
    assert pixels.labels.shape == (16, 2, 24, 24) and pixels.classes == corpus.modality("echo").band_names


def test_a_file_of_an_older_release_is_read(tmp_path: Path) -> None:
    tuned = finetune(make_pretrained(), stripes(8, 0), replace(QUICK, epochs=1))
    tuned.save(tmp_path / "new.safetensors")
    content = (tmp_path / "new.safetensors").read_bytes()
    with safe_open(tmp_path / "new.safetensors", "pt") as opened:
        about = opened.metadata()["geocorpus"]
    older = about.replace('"task": {"kind": "single-label"}, "fit": "pad", ', "")
    assert older != about
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"]["geocorpus"] = older
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    durable.write_bytes(tmp_path / "old.safetensors", len(text).to_bytes(8, "little") + text, content[start:])
    assert "task" not in _read(tmp_path / "old.safetensors")[0]
    again = load_finetuned(tmp_path / "old.safetensors")
    assert np.array_equal(again.predict(stripes(4, 1)), tuned.predict(stripes(4, 1)))
