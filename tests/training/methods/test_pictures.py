"""Pictures of a run: what they show is what the model said, in the units of the store, and drawing changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.corpus import Corpus
from tests.training.corpora import CONFIG
from training.methods import pictures
from training.methods.mpmae import MPMAE
from training.methods.pictures import Pictures, reconstruct
from training.model.losses import normalise_patches
from training.pretrain.picture_log import sample_of
from training.pretrain.resolved_run import ResolvedRun, resolve_run
from training.runtime.device import Device
from training.sample import Sample


@pytest.fixture(scope="module")
def resolved(corpus: Corpus) -> ResolvedRun:
    return resolve_run(corpus, CONFIG)


@pytest.fixture(scope="module")
def sample(resolved: ResolvedRun) -> Sample:
    return sample_of(resolved, np.array([1, 2, 4]))


def model_of(resolved: ResolvedRun) -> MPMAE:
    torch.manual_seed(0)
    return MPMAE(resolved.inputs, resolved.targets, resolved.config)


def drawn_by(sample: Sample, resolved: ResolvedRun, folder: Path) -> Pictures:
    return Pictures(sample, resolved.inputs, resolved.targets, CONFIG.patch_px, folder)


def target(resolved: ResolvedRun, name: str) -> pictures.Layer:
    return next(layer for layer in resolved.targets if layer.name == name)


def test_a_perfect_prediction_gives_the_stored_values_back(resolved: ResolvedRun, sample: Sample) -> None:
    """Per-patch and per-group normalisation, undone, meet what the store holds, to the last digital number."""
    light, echo = target(resolved, "light"), target(resolved, "echo")
    values, valid = sample.batch.values["light"], sample.batch.valid["light"]
    perfect = normalise_patches(values, valid, CONFIG.patch_px)
    np.testing.assert_array_equal(reconstruct(light, perfect, sample, CONFIG.patch_px), sample.stored["light"])
    result = reconstruct(echo, sample.batch.values["echo"], sample, CONFIG.patch_px)
    np.testing.assert_allclose(result, sample.stored["echo"], rtol=1e-5)


def test_the_likeliest_class_is_drawn_and_nodata_stays_nodata(resolved: ResolvedRun, sample: Sample) -> None:
    ground = target(resolved, "ground")
    indices, valid = sample.batch.values["ground"], sample.batch.valid["ground"]
    logits = torch.nn.functional.one_hot(indices.clamp(min=0), 3).movedim(-1, 2).flatten(1, 2).float()
    result = reconstruct(ground, logits, sample, CONFIG.patch_px)
    np.testing.assert_array_equal(result, sample.stored["ground"])
    wrong = reconstruct(ground, -logits, sample, CONFIG.patch_px)
    assert (wrong[valid.numpy()] != sample.stored["ground"][valid.numpy()]).all()
    assert (wrong[~valid.numpy()] == 255).all() and not valid.all()


def test_a_wild_prediction_is_clipped_into_the_dtype(resolved: ResolvedRun, sample: Sample) -> None:
    wild = torch.full_like(sample.batch.values["light"], 1e12)
    result = reconstruct(target(resolved, "light"), wild, sample, CONFIG.patch_px)
    assert result.dtype == np.uint16
    assert (result == 65535).all()


def test_a_picture_is_drawn_and_the_model_is_as_if_it_had_not_been(
    resolved: ResolvedRun, sample: Sample, tmp_path: Path
) -> None:
    model, drawn = model_of(resolved).train(), drawn_by(sample, resolved, tmp_path)
    before, random = {name: item.clone() for name, item in model.state_dict().items()}, torch.get_rng_state()
    pixels = drawn.draw(model, Device.of(CONFIG), 7)
    with Image.open(tmp_path / "step-00000007.png") as image:
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), pixels)
    assert model.training and torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(item, before[name]) for name, item in model.state_dict().items())
    assert np.array_equal(drawn.draw(model, Device.of(CONFIG), 7), pixels)


def test_hidden_patches_are_dark_to_the_encoder_and_predicted_below(
    resolved: ResolvedRun, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Line by line, the panels of the input are the truth, the truth without hidden patches, and a mixture."""
    result: list[pictures._Panels] = []
    monkeypatch.setattr(pictures._Page, "panels", lambda page, chip, column, panels: result.append(panels))
    drawn_by(sample, resolved, tmp_path).draw(model_of(resolved), Device.of(CONFIG), 1)
    visible = np.kron(sample.batch.visible[0].numpy(), np.ones((8, 8))) > 0
    real, seen, made = result[0].pictures
    assert result[0].title == "light" and real is not None and seen is not None and made is not None
    np.testing.assert_array_equal(seen[visible], real[visible])
    np.testing.assert_array_equal(made[visible], real[visible])
    assert (seen[~visible] == pictures._HIDDEN).all()
    assert (made[~visible] != real[~visible]).any()
    assert next(one for one in result if one.title.startswith("echo")).pictures[1] is None  # no input


def test_a_prediction_at_another_level_is_drawn_at_that_of_the_truth_and_says_so(resolved: ResolvedRun) -> None:
    echo = target(resolved, "echo")
    truth = np.random.default_rng(0).normal(-12, 2, (len(echo.bands), 24, 24)).astype(echo.modality.dtype)
    hidden = np.zeros((24, 24), bool)
    hidden[:8] = True
    level = replace(echo.modality, display=replace(echo.modality.display, style="grey", low=0.0, high=0.0))
    moved, said = pictures._levelled(replace(echo, modality=level), truth, truth + 300, hidden)
    np.testing.assert_allclose(moved, truth, atol=1e-4)
    assert said.startswith("off by +300")
    fixed = replace(level, display=replace(level.display, low=-25.0, high=0.0))
    moved, said = pictures._levelled(replace(echo, modality=fixed), truth, truth + 300, hidden)
    assert said == "" and moved[0, 0, 0] == truth[0, 0, 0] + 300


def test_what_is_zero_but_for_rounding_is_called_zero() -> None:
    assert pictures._number(-2.45e-16) == "0" and pictures._number(-0.5) == "-0.5"
