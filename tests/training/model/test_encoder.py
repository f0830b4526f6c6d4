"""The dense masked encoder computes what submanifold sparse convolution does."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from tests.training.submanifold import sparse_trace
from training.architecture import SIZES, Architecture, GrnScope, InitStd, Size, Stem
from training.model.encoder import DropPath, Encoder, ResponseNorm, initialise

TINY = Size((1, 1, 2, 1), (3, 4, 5, 6))
CHANNELS_LAST = ("norm", "pwconv1", "grn", "pwconv2")  # Layers inside a block that see (batch, y, x, channels).


def make_encoder(patch_px: int, channels: int = 2, stem: str = "modified", grn_scope: str = "image") -> Encoder:
    """Double precision, with every parameter random, so that no term is silent."""
    torch.manual_seed(3)
    encoder = Encoder(channels, TINY, patch_px, stem, grn_scope).double()
    with torch.no_grad():
        for item in encoder.parameters():
            item.copy_(torch.randn_like(item) * 0.5)
    return encoder


def make_input(patch_px: int, side: int = 3) -> tuple[Tensor, Tensor]:
    torch.manual_seed(4)
    visible = torch.zeros(2, side, side, dtype=torch.bool)
    visible[0, 0, 1] = visible[0, 1, 1] = visible[0, 2, 0] = visible[1, 2, 2] = visible[1, 0, 0] = True
    return torch.randn(2, 2, side * patch_px, side * patch_px, dtype=torch.float64), visible


def dense_trace(encoder: Encoder, image: Tensor, visible: Tensor) -> dict[str, Tensor]:
    """What came out of every module, as (batch, y, x, channels), by its name; the last is "features"."""
    result: dict[str, Tensor] = {}

    def hook(name: str):
        last = name.startswith("stages") and name.rsplit(".", 1)[-1] in CHANNELS_LAST
        return lambda _module, _given, made: result.update({name: made if last else made.permute(0, 2, 3, 1)})

    hooks = [module.register_forward_hook(hook(name)) for name, module in encoder.named_modules() if name]
    result["features"] = encoder(image, visible).permute(0, 2, 3, 1)
    for one in hooks:
        one.remove()
    return result


def in_layer(name: str) -> Callable[[str], str]:
    return lambda text: f"{name}: {text}"


def assert_same_as_sparse(encoder: Encoder, image: Tensor, visible: Tensor, tolerance: float) -> None:
    """Every layer's output at the sites that exist, and every gradient of a random function of the features."""
    image = image.requires_grad_()
    dense, sparse = dense_trace(encoder, image, visible), sparse_trace(encoder, image, visible).layers
    computing = {name for name, module in encoder.named_modules() if list(module.parameters(recurse=False))}
    assert computing <= sparse.keys(), computing - sparse.keys()
    for name, (sites, values) in sparse.items():
        there = dense[name][tuple(torch.tensor(sites).T)]
        torch.testing.assert_close(there, values, rtol=tolerance, atol=tolerance, msg=in_layer(name))
    names, parameters = zip(*[("image", image), *encoder.named_parameters()], strict=True)
    weights = torch.randn(encoder.width, dtype=image.dtype)
    losses = [((maps * weights) ** 2).mean() for maps in (dense["features"][visible], sparse["features"][1])]
    for name, a, b in zip(names, *(torch.autograd.grad(loss, parameters) for loss in losses), strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * float(b.abs().max()), msg=in_layer(name))


@pytest.mark.parametrize("grn_scope", get_args(GrnScope))
@pytest.mark.parametrize("stem", get_args(Stem))
@pytest.mark.parametrize("patch_px", [8, 16])
def test_equals_sparse_convolution(patch_px: int, stem: str, grn_scope: str) -> None:
    encoder, (image, visible) = make_encoder(patch_px, stem=stem, grn_scope=grn_scope), make_input(patch_px)
    assert_same_as_sparse(encoder, image, visible, 1e-8)
    features = encoder(image, visible)
    assert sorted(map(tuple, visible.nonzero().tolist())) == sorted(
        map(tuple, features.abs().sum(1).nonzero().tolist())
    )


def test_the_published_size_equals_sparse_convolution_in_single_precision() -> None:
    torch.manual_seed(5)
    encoder = Encoder(12, SIZES["atto"], 8)
    with torch.no_grad():
        for name, item in encoder.named_parameters():
            item.copy_(torch.rand_like(item) if "norm" in name else torch.randn_like(item) * 0.05)
    visible = torch.tensor([[[True, True], [False, True]]])
    assert_same_as_sparse(encoder, torch.randn(1, 12, 16, 16), visible, 1e-5)


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


@pytest.mark.parametrize("stem", get_args(Stem))
@pytest.mark.parametrize(
    ("patch_px", "height", "width"),
    [(8, 56, 56), (16, 112, 112), (32, 224, 224), (16, 128, 128), (8, 64, 64), (24, 48, 72), (8, 8, 40), (16, 32, 16)],
)
def test_any_multiple_of_the_patch(patch_px: int, height: int, width: int, stem: str) -> None:
    maps = make_encoder(patch_px, stem=stem).features(torch.randn(1, 2, height, width, dtype=torch.float64))
    strides = [patch_px // 8, patch_px // 4, patch_px // 2, patch_px]
    assert [tuple(item.shape[1:]) for item in maps] == [
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


def test_response_over_the_batch() -> None:
    norm = ResponseNorm(3, "batch")
    torch.nn.init.ones_(norm.gamma)
    maps = torch.randn(2, 4, 4, 3)
    response = maps.pow(2).sum((0, 1, 2)).sqrt()
    torch.testing.assert_close(norm(maps), maps * response / response.mean() + maps, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(norm(maps)[:1], norm(maps[:1]))


def test_drop_path_leaves_out_whole_images_while_training_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    drop, branch = DropPath(0.25), torch.ones(4000, 2, 1, 1)
    dropped = drop(branch)
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert torch.equal(dropped[:, 0], dropped[:, 1]) and dropped.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(drop.eval()(branch), branch)


def test_drop_path_rises_to_the_last_block() -> None:
    rates = [item.rate for item in Encoder(2, TINY, 8, drop_path=0.4).modules() if isinstance(item, DropPath)]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("name", SIZES)
def test_every_size_is_built_with_both_stems_and_described(name: str) -> None:
    """On no real memory: the largest would take three gigabytes."""
    for stem in get_args(Stem):
        with torch.device("meta"):
            encoder = Encoder(12, SIZES[name], 16, stem)
            assert encoder(torch.zeros(1, 12, 112, 112)).shape == (1, SIZES[name].widths[-1], 7, 7)
        assert encoder.architecture.size_name == name
        assert Architecture.from_dict(encoder.architecture.to_dict()) == encoder.architecture


def test_atto_has_the_published_number_of_parameters() -> None:
    """3.39 million with twelve input bands, as counted in the published code's dense build."""
    count = sum(item.numel() for item in Encoder(12, SIZES["atto"], 16).parameters())
    assert count == pytest.approx(3.39e6, rel=0.01)


@pytest.mark.parametrize("init_std", get_args(InitStd))
def test_kernels_are_drawn_as_wide_as_is_said(init_std: InitStd) -> None:
    encoder = Encoder(12, SIZES["atto"], 8)
    torch.manual_seed(0)
    initialise(encoder, init_std)
    kernels = [part for part in encoder.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    for part in kernels:
        wanted = 0.02 if init_std == "fixed" else math.sqrt(1 / part.weight[0].numel())
        assert part.weight.numel() < 1000 or 0.8 < float(part.weight.detach().std()) / wanted < 1.2
        assert part.bias is None or not part.bias.any()
    assert len(kernels) > 30


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
