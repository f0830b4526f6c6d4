"""The published dense code computes other features with the same weights; written here in NumPy from its description.

Its classifier's first convolution is not padded, and its response normalisation has an epsilon of 1e-4.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.special import erf

from pipeline.errors import Fatal
from tests.training.published_sparse import make_checkpoint, make_state
from training.architecture import Architecture, Geometry, Size
from training.model.encoder import Encoder
from training.model.unet import UNet
from training.weights.published import encoder_of, to_dense
from training.weights.weights import load_encoder, save_encoder

DEPTHS, WIDTHS = (1, 1, 2, 1), (3, 4, 5, 6)
Maps = NDArray[np.float64]


def convolved(maps: Maps, weight: Maps, bias: Maps, pad: int, stride: int) -> Maps:
    """(channels, y, x) by kernels (out, channels or 1, k, k)."""
    k = weight.shape[-1]
    windows = sliding_window_view(np.pad(maps, ((0, 0), (pad, pad), (pad, pad))), (k, k), axis=(1, 2))
    windows = windows[:, ::stride, ::stride]
    product = "cyxij,cij->cyx" if weight.shape[1] == 1 and len(maps) == len(weight) else "cyxij,ocij->oyx"
    kernels = weight[:, 0] if product.endswith("cij->cyx") else weight
    return np.einsum(product, windows, kernels) + bias[:, None, None]


def normed(maps: Maps, weight: Maps, bias: Maps) -> Maps:
    centred = maps - maps.mean(0)
    return centred / np.sqrt((centred**2).mean(0) + 1e-6) * weight[:, None, None] + bias[:, None, None]


def gelu(maps: Maps) -> Maps:
    return maps * 0.5 * (1 + erf(maps / np.sqrt(2)))


def dense_features(weights: dict[str, Maps], image: Maps, patch_px: int, pad: int, epsilon: float) -> Maps:
    """What the published dense encoder makes of an image (channels, y, x)."""

    def of(name: str) -> tuple[Maps, Maps]:
        return weights[f"{name}.weight"], weights[f"{name}.bias"]

    maps = gelu(normed(convolved(image, *of("initial_conv.0"), pad, 1), *of("initial_conv.1")))
    maps = normed(convolved(maps, *of("stem.0"), 0, patch_px // 8), *of("stem.1"))
    for stage, depth in enumerate(DEPTHS):
        if stage:
            down = f"downsample_layers.{stage - 1}"
            maps = convolved(normed(maps, *of(f"{down}.0")), *of(f"{down}.1"), 0, 2)
        for index in range(depth):
            name = f"stages.{stage}.{index}"
            inner = normed(convolved(maps, *of(f"{name}.dwconv"), 3, 1), *of(f"{name}.norm"))
            first, second = of(f"{name}.pwconv1"), of(f"{name}.pwconv2")
            inner = gelu(np.einsum("oc,cyx->oyx", first[0], inner) + first[1][:, None, None])
            size = np.sqrt((inner**2).sum((1, 2)))
            gamma, beta = (weights[f"{name}.grn.{part}"].reshape(-1, 1, 1) for part in ("gamma", "beta"))
            inner = gamma * inner * (size / (size.mean() + epsilon))[:, None, None] + beta + inner
            maps = maps + np.einsum("oc,cyx->oyx", second[0], inner) + second[1][:, None, None]
    return maps


@pytest.mark.parametrize(("patch_px", "image_px"), [(8, 56), (16, 112)])
@pytest.mark.parametrize(
    ("geometry", "pad", "epsilon", "side"),
    [("published-classifier", 0, 1e-4, 6), ("published-unet", 1, 1e-4, 7), ("sparse", 1, 1e-6, 7)],
)
def test_each_geometry_is_what_its_code_computes(
    patch_px: int, image_px: int, geometry: Geometry, pad: int, epsilon: float, side: int
) -> None:
    state = make_state(DEPTHS, WIDTHS, 3, patch_px, "modified")
    encoder = encoder_of(state, geometry=geometry).double()
    image = np.random.default_rng(0).normal(size=(3, image_px, image_px)) * 1e-3  # so small that epsilon counts
    weights = {name: item.double().numpy() for name, item in to_dense(state).items()}
    expected = dense_features(weights, image, patch_px, pad, epsilon)
    features = encoder(torch.tensor(image)[None])[0].detach().numpy()
    assert features.shape == (6, side, side)
    np.testing.assert_allclose(features, expected, rtol=1e-7, atol=1e-9)
    other = dense_features(weights, image, patch_px, pad, 1e-4 if epsilon == 1e-6 else 1e-6)
    assert not np.allclose(features, other, rtol=1e-7, atol=1e-9)


def test_it_is_offered_by_name_and_kept_in_the_file(tmp_path: Path) -> None:
    path = make_checkpoint(tmp_path / "checkpoint-199.pth", make_state(DEPTHS, WIDTHS, 12, 8, "modified"))
    image = torch.randn(1, 12, 56, 56, generator=torch.Generator().manual_seed(1))
    loaded = load_encoder(path, geometry="published-classifier")
    assert loaded.encoder(image).shape[-2:] == (6, 6) and load_encoder(path).encoder(image).shape[-2:] == (7, 7)
    save_encoder(tmp_path / "mine.safetensors", loaded)
    again = load_encoder(tmp_path / "mine.safetensors").encoder
    assert torch.equal(again(image), loaded.encoder(image))
    back = load_encoder(tmp_path / "mine.safetensors", geometry="sparse").encoder
    assert torch.equal(back(image), load_encoder(path).encoder(image)) and back.stem[0].weight.requires_grad
    with pytest.raises(Fatal, match="unknown geometry 'published-clasifier'; did you mean 'published-classifier'"):
        load_encoder(path, geometry="published-clasifier")  # type: ignore[arg-type]


def test_files_of_pretraining_name_no_geometry() -> None:
    """So that earlier releases read them."""
    size = Size(DEPTHS, WIDTHS)
    assert "geometry" not in Architecture(3, size, 8).to_dict()
    other = Architecture(3, size, 8, geometry="published-unet")
    assert Architecture.from_dict(other.to_dict()) == other


def test_what_needs_a_site_for_each_patch_is_refused() -> None:
    encoder = Encoder(3, Size(DEPTHS, WIDTHS), 8, geometry="published-classifier")
    with pytest.raises(
        Fatal, match="'published-classifier' has no site for each patch, which a decoder to pixels needs"
    ):
        UNet(encoder, 2)
    with pytest.raises(ValueError, match="whole images only"):
        encoder(torch.zeros(1, 3, 16, 16), torch.ones(1, 2, 2, dtype=torch.bool))
    original = Encoder(3, Size(DEPTHS, WIDTHS), 8, "original", geometry="published-classifier")
    assert UNet(original, 2)(torch.zeros(1, 3, 16, 16)).shape == (1, 2, 16, 16)
