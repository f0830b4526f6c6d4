"""The dense masked encoder computes what submanifold sparse convolution does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.training.submanifold import sparse_features
from training.encoder import Encoder, ResponseNorm
from training.size import SIZES, Size

TINY = Size((1, 1, 2, 1), (3, 4, 5, 6))


def make_encoder(patch_px: int, channels: int = 2) -> Encoder:
    """Double precision, with every parameter random, so that no term is silent."""
    torch.manual_seed(3)
    encoder = Encoder(channels, TINY, patch_px).double()
    with torch.no_grad():
        for one in encoder.parameters():
            one.copy_(torch.randn_like(one) * 0.5)
    return encoder


def make_input(patch_px: int, side: int = 3) -> tuple[Tensor, Tensor]:
    torch.manual_seed(4)
    visible = torch.zeros(2, side, side, dtype=torch.bool)
    visible[0, 0, 1] = visible[0, 1, 1] = visible[0, 2, 0] = visible[1, 2, 2] = visible[1, 0, 0] = True
    return torch.randn(2, 2, side * patch_px, side * patch_px, dtype=torch.float64), visible


@pytest.mark.parametrize("patch_px", [8, 16])
def test_equals_sparse_convolution(patch_px: int) -> None:
    encoder, (image, visible) = make_encoder(patch_px), make_input(patch_px)
    parameters = list(encoder.parameters())
    dense = encoder(image, visible)
    sparse = [sparse_features(encoder, one, mask) for one, mask in zip(image, visible, strict=True)]

    for index, features in enumerate(sparse):
        assert sorted(features) == sorted(map(tuple, visible[index].nonzero().tolist()))
        for (y, x), value in features.items():
            torch.testing.assert_close(dense[index, :, y, x], value, rtol=1e-8, atol=1e-8)

    weights = torch.randn(TINY.widths[-1], dtype=torch.float64)
    dense_loss = ((dense * weights[:, None, None]) ** 2).sum()
    sparse_loss = sum(((value * weights) ** 2).sum() for features in sparse for value in features.values())
    for a, b in zip(
        torch.autograd.grad(dense_loss, parameters), torch.autograd.grad(sparse_loss, parameters), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-7)


def test_hidden_pixels_do_not_reach_visible_features() -> None:
    encoder, (image, visible) = make_encoder(8), make_input(8)
    hidden = ~visible[:, None].repeat_interleave(8, 2).repeat_interleave(8, 3)
    before = encoder(image, visible)
    assert torch.equal(encoder(torch.where(hidden, image * 100 + 7, image), visible), before)
    assert torch.equal(encoder(torch.where(hidden, torch.nan, image), visible), before)
    assert (before[~visible[:, None].expand_as(before)] == 0).all()
    assert (before[visible[:, None].expand_as(before)] != 0).all()


def test_visible_pixels_matter_everywhere_in_their_neighbourhood() -> None:
    """The counterpart: without it, an encoder of zeros would pass."""
    encoder, (image, visible) = make_encoder(8), make_input(8)
    changed = image.clone()
    changed[0, 0, 0, 8] += 1
    assert not torch.equal(encoder(changed, visible)[0], encoder(image, visible)[0])
    assert torch.equal(encoder(changed, visible)[1], encoder(image, visible)[1])


def test_everything_visible_is_no_mask() -> None:
    encoder, (image, _) = make_encoder(16), make_input(16)
    torch.testing.assert_close(encoder(image, torch.ones(2, 3, 3, dtype=torch.bool)), encoder(image))


@pytest.mark.parametrize(("patch_px", "height", "width"), [(8, 8, 40), (16, 32, 16)])
def test_any_multiple_of_the_patch(patch_px: int, height: int, width: int) -> None:
    maps = make_encoder(patch_px).features(torch.randn(1, 2, height, width, dtype=torch.float64))
    strides = [patch_px // 8, patch_px // 4, patch_px // 2, patch_px]
    assert [tuple(one.shape[1:]) for one in maps] == [
        (channels, height // stride, width // stride) for channels, stride in zip(TINY.widths, strides, strict=True)
    ]


def test_refuses_other_sizes() -> None:
    with pytest.raises(ValueError, match="no multiple of the 8 px patch"):
        make_encoder(8)(torch.zeros(1, 2, 12, 16, dtype=torch.float64))


def test_response_norm_is_per_image() -> None:
    norm = ResponseNorm(3)
    torch.nn.init.ones_(norm.gamma)
    maps = torch.randn(2, 4, 4, 3)
    together = norm(maps)
    torch.testing.assert_close(together[:1], norm(maps[:1]))
    response = maps[1].pow(2).sum((0, 1)).sqrt()
    torch.testing.assert_close(together[1], maps[1] * response / response.mean() + maps[1], rtol=1e-4, atol=1e-5)


def test_atto_has_the_published_number_of_parameters() -> None:
    """3.39 million with twelve input bands, as counted in the published code's dense build."""
    count = sum(one.numel() for one in Encoder(12, SIZES["atto"], 16).parameters())
    assert count == pytest.approx(3.39e6, rel=0.01)


def test_modules_are_named_as_in_the_published_checkpoints() -> None:
    names = {name.rsplit(".", 1)[0] for name, _ in Encoder(12, SIZES["atto"], 16).named_parameters()}
    assert {
        "initial_conv.0",
        "initial_conv.1",
        "stem.0",
        "stem.1",
        "downsample_layers.0.0",
        "downsample_layers.2.1",
        "stages.0.0.dwconv",
        "stages.2.5.norm",
        "stages.3.1.pwconv1",
        "stages.3.1.grn",
        "stages.3.1.pwconv2",
    } <= names
