"""Leaving out what is hidden changes nothing: held to the dense masked encoder, and to whole objectives."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pipeline.corpus import Corpus
from tests.training.corpora import CONFIG
from training.architecture import Size
from training.methods.mpmae import MPMAE
from training.model.encoder import Encoder
from training.model.visible import Patches, encode_visible
from training.pretrain.resolved_run import resolve_run

SMALL = Size((1, 2, 1, 1), (4, 6, 8, 10))


def some_visible(images: int, side: int, keep: int) -> Tensor:
    """A mask (images, side, side) with `keep` True in each image."""
    order = torch.rand(images, side**2).argsort(dim=1)
    return (order < keep).view(images, side, side)


@pytest.mark.parametrize("stem", ["modified", "original"])
@pytest.mark.parametrize("grn_scope", ["image", "batch"])
@pytest.mark.parametrize(("patch_px", "side", "keep"), [(8, 5, 9), (16, 3, 1), (24, 2, 3), (8, 2, 4)])
def test_equals_the_dense_masked_encoder(stem: str, grn_scope: str, patch_px: int, side: int, keep: int) -> None:
    torch.manual_seed(side)
    encoder = Encoder(3, SMALL, patch_px, stem, grn_scope).double()
    for weights in encoder.parameters():
        torch.nn.init.normal_(weights, std=0.3)
    image = torch.randn(2, 3, side * patch_px, side * patch_px, dtype=torch.float64)
    visible = some_visible(2, side, keep)
    dense, result = encoder(image, visible), encode_visible(encoder, image, visible, keep)
    torch.testing.assert_close(result, dense, rtol=1e-9, atol=1e-9)
    towards = torch.randn_like(dense)
    weights = list(encoder.parameters())
    expected = torch.autograd.grad((dense * towards).sum(), weights)
    for item, other in zip(torch.autograd.grad((result * towards).sum(), weights), expected, strict=True):
        torch.testing.assert_close(item, other, rtol=1e-8, atol=1e-9)


def test_hidden_pixels_may_be_anything() -> None:
    encoder, visible = Encoder(2, SMALL, 8), some_visible(1, 3, 4)
    hidden = ~visible[:, None].repeat_interleave(8, 2).repeat_interleave(8, 3)
    image = torch.randn(1, 2, 24, 24)
    result = [encode_visible(encoder, image.masked_fill(hidden, value), visible, 4) for value in (0.0, float("nan"))]
    assert torch.equal(*result) and bool(torch.isfinite(result[0]).all())


def test_sites_are_those_of_the_mask() -> None:
    """Against indexing with the mask itself; a rim takes the neighbours too, and what pads the map at its border."""
    visible = some_visible(3, 4, 5)
    patches = Patches.of(visible, 5)
    whole = torch.zeros(3 * 12 * 12, dtype=torch.bool)
    whole[patches.sites(3)] = True
    assert torch.equal(whole.view(3, 12, 12), visible.repeat_interleave(3, 1).repeat_interleave(3, 2))
    numbers = torch.nn.functional.pad(torch.arange(1, 3 * 144 + 1).view(3, 12, 12), (1, 1, 1, 1)).flatten()
    windows = numbers[patches.sites(3, rim=1)].view(3, 5, 5, 5)
    inner = torch.arange(1, 3 * 144 + 1)[patches.sites(3)].view(3, 5, 3, 3)
    assert torch.equal(windows[:, :, 1:4, 1:4], inner)
    at_border = patches.indices % 4 == 0
    assert torch.equal(windows[:, :, 2, 0], torch.where(at_border, 0, inner[:, :, 1, 0] - 1))


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("decoder", ["shared", "per-task"])
def test_objectives_are_the_same(corpus: Corpus, precision: str, decoder: str) -> None:
    resolved = resolve_run(corpus, replace(CONFIG, decoder=decoder))
    torch.manual_seed(1)
    models = [
        MPMAE(resolved.inputs, resolved.targets, replace(resolved.config, skip_hidden=skip)) for skip in (True, False)
    ]
    models[1].load_state_dict(models[0].state_dict())
    batch = resolved.loader.batch(0)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        objectives = [model.objective(batch) for model in models]
    tolerance = 2e-2 if precision == "bf16" else 1e-5
    torch.testing.assert_close(*(item.losses.detach() for item in objectives), rtol=tolerance, atol=tolerance)
    assert torch.equal(objectives[0].active, objectives[1].active)
    if precision == "float32":
        for item in objectives:
            item.total.backward()
        for (name, result), expected in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
            torch.testing.assert_close(result.grad, expected.grad, rtol=1e-4, atol=1e-6, msg=name)
