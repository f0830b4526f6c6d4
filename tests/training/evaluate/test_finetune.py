"""Fine-tuning on tiny models: it learns what it may, at the rates it should, and is the same again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.modality import Band, Modality
from pipeline.statistics import EVERYTHING
from tests.training.timm_layout import TimmConvNeXt
from training.architecture import Size
from training.evaluate.decay import depth_of, parameter_groups
from training.evaluate.finetune import Tuning, finetune
from training.evaluate.finetuned import Finetuned, load_finetuned
from training.evaluate.recipe import RECIPES, Recipe
from training.evaluate.samples import Samples, chip_samples, pixel_samples
from training.evaluate.tasks.scores import Scores
from training.evaluate.tasks.single_label import SingleLabel
from training.layer import Layer, layer_of
from training.model.classifier import Classifier
from training.model.encoder import DropPath, Encoder, initialise
from training.model.normalisation import Normalisation
from training.model.unet import UNet
from training.standardiser import Moments
from training.weights.pretrained import Pretrained
from training.weights.weights import save_encoder

TINY = Size((1, 1, 2, 1), (4, 6, 8, 10))
BANDS = Modality("bands", "Bands", (Band("a"), Band("b")), "int16", -1)
HALF = Moments(np.full(2, 100, np.float32), np.full(2, 50, np.float32), np.ones(2, np.bool_))
QUICK = Recipe(epochs=12, batch_size=8, blr=0.1, weight_decay=0.05, smoothing=0.0, drop_path=0.0, device="cpu")


def make_pretrained(stem: str = "modified", patch_px: int = 8) -> Pretrained:
    torch.manual_seed(0)
    encoder = Encoder(2, TINY, patch_px, stem)
    initialise(encoder)
    return Pretrained(encoder, Normalisation((Layer(BANDS, (0, 1), {EVERYTHING: HALF}),)))


def stripes(count: int, seed: int, size_px: int = 16) -> Samples:
    """Three classes: which band is striped, and the other way round; every fourth sample has no label."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = random.normal(100, 10, (count, 2, size_px, size_px))
    lines = 60.0 * (np.arange(size_px) % 4 < 2)
    for image, label in zip(images, labels, strict=True):
        image[label % 2] += lines[:, None] if label < 2 else lines[None]
    kept = np.where(np.arange(count) % 4 == 3, -1, labels)
    return Samples({"bands": images.astype(np.int16)}, kept, ("one", "two", "three"))


def fields(count: int, seed: int) -> Samples:
    """A class per pixel: whether a smooth wave is high, which the two bands show with noise; an edge is unlabelled."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:16, :16] / 16
    waves = np.stack([np.sin(6 * (x * np.cos(a) + y * np.sin(a)) + a) for a in random.uniform(0, 6, count)])
    images = 100 + 50 * np.stack([waves, -waves], 1) + random.normal(0, 10, (count, 2, 16, 16))
    labels = (waves > 0).astype(np.int64)
    labels[:, :2] = -1
    return Samples({"bands": images.astype(np.int16)}, labels, ("low", "high"))


@pytest.mark.parametrize("stem", ["modified", "original"])
@pytest.mark.parametrize("kind", [Classifier, UNet])
def test_rates_fall_with_depth_and_the_stem_has_the_smallest(stem: str, kind: type) -> None:
    model = kind(make_pretrained(stem).encoder, 3)
    rates = {}
    for group in parameter_groups(model, TINY.depths, 1.0, 0.5, 0.3):
        rates |= dict.fromkeys(group["names"], group["lr"])
    assert rates.keys() == dict(model.named_parameters()).keys()
    stems = {name: rate for name, rate in rates.items() if name.split(".")[1] in ("initial_conv", "stem", "stem_orig")}
    blocks = [rates[f"encoder.stages.{place}.pwconv1.weight"] for place in ("0.0", "1.0", "2.0", "2.1", "3.0")]
    assert len(stems) == (8 if stem == "modified" else 4)
    assert set(stems.values()) == {0.5**6} and blocks == [0.5**5, 0.5**4, 0.5**3, 0.5**2, 0.5]
    assert [rates[f"encoder.downsample_layers.{place}.1.weight"] for place in range(3)] == [0.5**4, 0.5**3, 0.5]
    assert {rate for name, rate in rates.items() if not name.startswith("encoder.")} == {1.0}
    with pytest.raises(ValueError, match=r"encoder\.surprise"):
        depth_of("encoder.surprise.weight", TINY.depths)


def test_only_kernels_decay() -> None:
    model = UNet(make_pretrained().encoder, 3)
    groups = parameter_groups(model, TINY.depths, 1.0, 0.5, 0.3)
    decaying = {name for group in groups if group["weight_decay"] for name in group["names"]}
    many = {name for name, item in model.named_parameters() if item.ndim > 1 and "grn" not in name}
    assert decaying == many and {group["weight_decay"] for group in groups} == {0.0, 0.3}


@pytest.mark.parametrize("stem", ["modified", "original"])
@pytest.mark.parametrize("patch_px", [8, 16, 32])
def test_the_unet_answers_every_pixel(stem: str, patch_px: int) -> None:
    model = UNet(make_pretrained(stem, patch_px).encoder, 3)
    image = torch.randn(2, 2, 2 * patch_px, patch_px, requires_grad=True)
    logits = model(image)
    assert logits.shape == (2, 3, 2 * patch_px, patch_px)
    logits.square().sum().backward()
    assert all(
        item.grad is not None and item.grad.any() for name, item in model.named_parameters() if "gamma" not in name
    )


def test_full_fine_tuning_learns_classes_of_images() -> None:
    pretrained = make_pretrained()
    before = {name: item.clone() for name, item in pretrained.encoder.state_dict().items()}
    tuned = finetune(pretrained, stripes(48, 0), replace(QUICK, epochs=20))
    assert tuned.losses[0] == pytest.approx(np.log(3), rel=0.05) and tuned.losses[-1] < 0.2
    assert tuned.score(stripes(30, 1)).accuracy > 0.9
    assert all(torch.equal(before[name], item) for name, item in pretrained.encoder.state_dict().items())
    assert not torch.equal(tuned.model.encoder.stages[0][0].dwconv.weight, before["stages.0.0.dwconv.weight"])


def test_full_fine_tuning_learns_classes_of_pixels() -> None:
    tuned = finetune(make_pretrained(), fields(32, 0), QUICK)
    scores = tuned.score(fields(16, 1))
    assert isinstance(tuned.model, UNet) and scores.mean_iou > 0.8
    assert scores.confusion.sum() == 16 * 14 * 16, "the unlabelled edge does not count"


def test_a_linear_probe_moves_nothing_but_the_head() -> None:
    pretrained = make_pretrained()
    tuned = finetune(pretrained, stripes(24, 0), replace(QUICK, epochs=2, frozen=1.0))
    own = pretrained.encoder.state_dict()
    assert all(torch.equal(own[name], item) for name, item in tuned.model.encoder.state_dict().items())
    assert torch.equal(tuned.model.norm.weight, torch.ones(10)) and tuned.model.head.weight.abs().max() > 1e-3


def test_the_encoder_joins_in_after_its_frozen_share(monkeypatch: pytest.MonkeyPatch) -> None:
    learning, thaw = [], Tuning.set_trainable

    def watched(self: Tuning, learns: bool) -> None:
        thaw(self, learns)
        parts = self.model.encoder
        learning.append((parts.training, all(item.requires_grad for item in parts.parameters()), self.model.training))

    monkeypatch.setattr(Tuning, "set_trainable", watched)
    finetune(make_pretrained(), fields(8, 0), replace(QUICK, epochs=4, frozen=0.5))
    assert learning == [(False, False, True)] * 2 + [(True, True, True)] * 2


def test_the_same_seed_gives_the_same_model_and_another_does_not() -> None:
    recipe = replace(QUICK, epochs=2, drop_path=0.3, smoothing=0.1)
    runs = [finetune(make_pretrained(), stripes(24, 0), replace(recipe, seed=seed)) for seed in (1, 1, 2)]
    heads = [run.model.head.weight for run in runs]
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])
    rates = [item.rate for item in runs[0].model.modules() if isinstance(item, DropPath)]
    assert rates[0] == 0 and rates[-1] == pytest.approx(0.3)


def test_the_error_is_a_mean_over_what_has_a_label_and_smoothed() -> None:
    logits = torch.tensor([[2.0, 0.0], [5.0, 1.0], [0.0, 1.0]], requires_grad=True)
    labels, sure = torch.tensor([0, -1, 1]), [np.log(1 + np.exp(-2)), np.log(1 + np.exp(-1))]
    other = [sure[0] + 2, sure[1] + 1]
    smoothed = [0.8 * right + 0.2 * (right + wrong) / 2 for right, wrong in zip(sure, other, strict=True)]
    error_of = SingleLabel(("one", "two")).loss
    assert error_of(logits, labels, 0.0).item() == pytest.approx(np.mean(sure))
    assert error_of(logits, labels, 0.2).item() == pytest.approx(np.mean(smoothed))
    nothing = error_of(logits, torch.full((3,), -1), 0.2)
    nothing.backward()
    assert nothing.item() == 0 and not logits.grad.any()


def test_saved_and_loaded_it_predicts_the_same(tmp_path: Path) -> None:
    for samples in (stripes(24, 0), fields(8, 0)):
        tuned = finetune(replace(make_pretrained(), facts={"step": 3}), samples, replace(QUICK, epochs=2))
        tuned.save(tmp_path / "tuned.safetensors")
        again = load_finetuned(tmp_path / "tuned.safetensors")
        assert again.classes == samples.classes and again.losses == tuned.losses and again.origin == {"step": 3}
        assert np.array_equal(again.predict(samples), tuned.predict(samples))
    save_encoder(tmp_path / "encoder.safetensors", make_pretrained())
    with pytest.raises(Fatal, match="holds an encoder and no fine-tuned model"):
        load_finetuned(tmp_path / "encoder.safetensors")


def test_a_classifier_loads_into_timm_whole(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    tuned = finetune(make_pretrained("original", 32), stripes(9, 0, 32), replace(QUICK, epochs=2))
    tuned.save(tmp_path / "tuned.safetensors")
    timm = TimmConvNeXt(2, TINY.depths, TINY.widths, classes=3, convolutions=False)
    timm.load_state_dict(load_file(tmp_path / "tuned.safetensors"))
    samples = stripes(6, 1, 32)
    image = tuned.normalisation.image(samples.stored)
    result = timm.head(timm.forward_features(image))
    torch.testing.assert_close(result, tuned.model(image), rtol=1e-4, atol=1e-5)


def test_scores_by_hand() -> None:
    scores = Scores(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
    assert scores.accuracy == 7 / 8
    np.testing.assert_allclose(scores.iou, [3 / 4, 4 / 5, np.nan])
    assert scores.mean_iou == pytest.approx((3 / 4 + 4 / 5) / 2)


def test_a_layer_of_the_corpus_as_label(corpus: Corpus) -> None:
    normalisation = Normalisation.of([layer_of(corpus, "light", {}), layer_of(corpus, "echo", {})])
    pixels = pixel_samples(corpus, normalisation, "ground", "train", 24)
    assert pixels.labels.shape == (16, 24, 24) and pixels.classes == ("Rock", "Wood", "Water")
    assert {name: item.shape for name, item in pixels.stored.items()} == {
        "light": (16, 2, 24, 24), "echo": (16, 2, 24, 24)}  # fmt: skip
    rows = corpus.manifest.rows_of("train")
    codes = corpus.read("ground", slice(0, 20))[rows, 0, 4:28, 4:28]
    for index, code in enumerate((30, 10, 20)):
        assert np.array_equal(pixels.labels == index, codes == code)
    assert np.array_equal(pixels.labels == -1, codes == 255)

    chips = chip_samples(corpus, normalisation, "ground", "train", 24)
    commonest = [np.bincount(item[item >= 0], minlength=3).argmax() for item in pixels.labels]
    assert chips.labels.tolist() == commonest
    culture = chip_samples(corpus, normalisation, "culture", "train", 24)
    assert culture.labels.tolist() == [row % 4 for row in rows if row % 4 < 3]

    encoder = Encoder(normalisation.channels, TINY, 8)
    tuned = finetune(Pretrained(encoder, normalisation), culture, replace(QUICK, epochs=1))
    assert isinstance(tuned, Finetuned) and tuned.predict(culture).shape == culture.labels.shape


@pytest.mark.parametrize(
    ("label", "message"), [("weather", "one value per chip"), ("culture", "one value per chip"), ("grond", "'ground'")]
)
def test_labels_that_do_not_do(corpus: Corpus, label: str, message: str) -> None:
    normalisation = Normalisation.of([layer_of(corpus, "light", {})])
    with pytest.raises(Fatal, match=message):
        pixel_samples(corpus, normalisation, label, "train", 24)


def test_refusals() -> None:
    nothing = stripes(8, 0)
    with pytest.raises(Fatal, match="none of the samples has a label"):
        finetune(make_pretrained(), replace(nothing, labels=np.full(8, -1)), QUICK)
    with pytest.raises(Fatal, match="labels must lie between 0 and 2"):
        replace(nothing, labels=np.full(8, 3))
    with pytest.raises(Fatal, match="must be as many"):
        replace(nothing, labels=np.zeros(7, np.int64))
    with pytest.raises(Fatal, match=r"finetune\.layer_decay"):
        replace(QUICK, layer_decay=0)
    tuned = finetune(make_pretrained(), nothing, replace(QUICK, epochs=1))
    with pytest.raises(Fatal, match="other classes than the model"):
        tuned.score(replace(nothing, classes=("a", "b", "c")))
    with pytest.raises(Fatal, match="the loss is nan"):
        finetune(make_pretrained(), nothing, replace(QUICK, blr=1e30))


def test_the_published_recipes() -> None:
    assert (RECIPES["full"].layer_decay, RECIPES["full"].smoothing, RECIPES["full"].epochs) == (0.9, 0.2, 100)
    assert RECIPES["dense"].frozen * RECIPES["dense"].epochs == 50 and RECIPES["dense"].smoothing == 0
