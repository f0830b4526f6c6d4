"""ImageNet's FCMAE files load under either name, and compute what ConvNeXt V2 does with the numbers in the file.

No published file was at hand: files are made to the layout that the public code reads and writes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.extras import NO_TORCH

pytest.importorskip("torch", reason=NO_TORCH)

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from exporters.modalities.sentinel2 import sentinel2
from pipeline.errors import Fatal
from training.architecture import SIZES
from training.weights.pretrained import ASSUMED
from training.weights.weights import load_encoder, save_encoder

State = dict[str, Tensor]
ATTO = SIZES["atto"]


def authors() -> State:
    """The state of the smallest size, as `convnextv2_atto_1k_224_fcmae.pt` has it: dense, without norm and head."""
    random = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random) / max(1, int(np.prod(shape[1:]))) ** 0.5

    def norm(name: str, width: int) -> State:
        return {f"{name}.weight": 1 + 0.1 * drawn(width), f"{name}.bias": 0.1 * drawn(width)}

    depths, widths = ATTO.depths, ATTO.widths
    state = {"downsample_layers.0.0.weight": drawn(widths[0], 3, 4, 4), "downsample_layers.0.0.bias": drawn(widths[0])}
    state |= norm("downsample_layers.0.1", widths[0])
    for stage in (1, 2, 3):
        name = f"downsample_layers.{stage}"
        state |= norm(f"{name}.0", widths[stage - 1])
        state[f"{name}.1.weight"] = drawn(widths[stage], widths[stage - 1], 2, 2)
        state[f"{name}.1.bias"] = drawn(widths[stage])
    for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
        for block in range(depth):
            name = f"stages.{stage}.{block}"
            state |= {f"{name}.dwconv.weight": drawn(width, 1, 7, 7), f"{name}.dwconv.bias": 0.1 * drawn(width)}
            state |= norm(f"{name}.norm", width)
            state |= {f"{name}.pwconv1.weight": drawn(4 * width, width), f"{name}.pwconv1.bias": 0.1 * drawn(4 * width)}
            state |= {f"{name}.grn.gamma": drawn(1, 1, 1, 4 * width), f"{name}.grn.beta": drawn(1, 1, 1, 4 * width)}
            state |= {f"{name}.pwconv2.weight": drawn(width, 4 * width), f"{name}.pwconv2.bias": 0.1 * drawn(width)}
    return state


def sparse(state: State) -> State:
    """The same as the pretraining code keeps it: of a sparse engine, with the decoder beside it."""
    result: State = {"mask_token": torch.zeros(1, 512, 1, 1), "proj.weight": torch.zeros(512, 320, 1, 1),
                     "decoder.0.dwconv.weight": torch.zeros(512, 1, 7, 7), "pred.bias": torch.zeros(3072)}  # fmt: skip
    for name, value in state.items():
        own = f"encoder.{name}"
        if ".dwconv.weight" in name:
            own, value = own.replace("weight", "kernel"), value[:, 0].transpose(1, 2).flatten(1).T
        elif name.startswith("downsample_layers") and ".1.weight" in name and value.ndim == 4:
            own, value = own.replace("weight", "kernel"), value.transpose(2, 3).flatten(2).permute(2, 1, 0)
        elif ".pwconv" in name:
            own = own.replace(".weight", ".linear.weight").replace(".bias", ".linear.bias")
        elif ".norm." in name or re.match(r"downsample_layers\.[123]\.0\.", name):
            own = own.replace(".weight", ".ln.weight").replace(".bias", ".ln.bias")
        result[own] = value.reshape(1, -1) if name.endswith((".gamma", ".beta", "dwconv.bias")) else value
    return result


def timm(state: State) -> State:
    """The same with timm's names: point-wise layers are 1x1 convolutions at this size, gamma and beta flat."""
    renamed = (("downsample_layers.0.", "stem."), ("dwconv", "conv_dw"), ("pwconv", "mlp.fc"),
               ("grn.gamma", "mlp.grn.weight"), ("grn.beta", "mlp.grn.bias"))  # fmt: skip
    result: State = {}
    for name, value in state.items():
        own = name
        for theirs, timms in renamed:
            own = own.replace(theirs, timms)
        parts = own.split(".")
        if parts[0] == "downsample_layers":
            own = f"stages.{parts[1]}.downsample.{'.'.join(parts[2:])}"
        elif parts[0] == "stages":
            own = f"stages.{parts[1]}.blocks.{'.'.join(parts[2:])}"
        if ".grn." in own:
            value = value.flatten()
        result[own] = value[:, :, None, None].clone() if ".mlp.fc" in own and value.ndim == 2 else value
    return result


def normed(maps: Tensor, state: Mapping[str, Tensor], name: str) -> Tensor:
    """Over the last axis."""
    return functional.layer_norm(maps, maps.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], 1e-6)


def plain(state: Mapping[str, Tensor], image: Tensor) -> Tensor:
    """The last stage's map (batch, width, y, x) of images (batch, 3, y, x), written out from the paper."""
    maps = image
    for stage, depth in enumerate(ATTO.depths):
        down = f"downsample_layers.{stage}"
        if stage:
            maps = normed(maps.movedim(1, -1), state, f"{down}.0").movedim(-1, 1)
            maps = functional.conv2d(maps, state[f"{down}.1.weight"], state[f"{down}.1.bias"], stride=2)
        else:
            maps = functional.conv2d(maps, state[f"{down}.0.weight"], state[f"{down}.0.bias"], stride=4)
            maps = normed(maps.movedim(1, -1), state, f"{down}.1").movedim(-1, 1)
        for block in range(depth):
            name = f"stages.{stage}.{block}"
            deep = functional.conv2d(
                maps, state[f"{name}.dwconv.weight"], state[f"{name}.dwconv.bias"], padding=3, groups=maps.shape[1]
            )
            deep = normed(deep.movedim(1, -1), state, f"{name}.norm")
            deep = functional.gelu(deep @ state[f"{name}.pwconv1.weight"].T + state[f"{name}.pwconv1.bias"])
            norms = deep.square().sum(dim=(1, 2), keepdim=True).sqrt()
            share = norms / (norms.mean(dim=-1, keepdim=True) + 1e-6)
            deep = state[f"{name}.grn.gamma"].flatten() * deep * share + state[f"{name}.grn.beta"].flatten() + deep
            deep = deep @ state[f"{name}.pwconv2.weight"].T + state[f"{name}.pwconv2.bias"]
            maps = maps + deep.movedim(-1, 1)
    return maps


@pytest.mark.parametrize("form", [dict, sparse, timm])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_computes_what_the_paper_says_with_the_numbers_of_the_file(
    form: Callable[[State], State], suffix: str, tmp_path: Path
) -> None:
    state, path = authors(), tmp_path / f"convnextv2_atto_1k_224_fcmae{suffix}"
    written = {name: item.contiguous() for name, item in form(state).items()}
    if suffix == ".pt":
        torch.save({"model": written}, path)
    else:
        save_file(written, path)
    pretrained = load_encoder(path)
    assert pretrained.encoder.architecture.summary == "atto, original stem, patch 32 px"
    assert pretrained.normalisation.band_names == {"sentinel2": ("B4", "B3", "B2")}
    assert pretrained.facts == {"published": path.name, ASSUMED: True}
    stored = np.random.default_rng(1).integers(1, 5000, (2, 3, 64, 96)).astype(np.uint16)
    colours = stored / 10_000 / 0.3  # reflectance, of which 0.3 is white
    shape = (3, 1, 1)
    expected = (colours - np.reshape([0.485, 0.456, 0.406], shape)) / np.reshape([0.229, 0.224, 0.225], shape)
    for level in ("l1c", "l2a"):
        image = pretrained.normalisation.image({"sentinel2": stored}, level)
        np.testing.assert_allclose(image.numpy(), expected, atol=1e-4)
    double = {name: item.double() for name, item in state.items()}
    with torch.no_grad():
        features = pretrained.encoder.double()(image.double())
    torch.testing.assert_close(features, plain(double, image.double()), rtol=1e-6, atol=1e-6)


def test_goes_with_our_corpora_and_is_kept_in_our_own_format(tmp_path: Path) -> None:
    torch.save({"model": authors()}, tmp_path / "fcmae.pt")
    pretrained = load_encoder(tmp_path / "fcmae.pt")
    layer = pretrained.normalisation.layers_of({"sentinel2": sentinel2})[0]
    assert [layer.modality.band_names[band] for band in layer.bands] == ["B4", "B3", "B2"]
    save_encoder(tmp_path / "ours.safetensors", pretrained)
    again = load_encoder(tmp_path / "ours.safetensors")
    assert again.normalisation.to_dict() == pretrained.normalisation.to_dict()
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(again.encoder(image), pretrained.encoder(image))


def changed(change: Callable[[State], object]) -> State:
    state = authors()
    change(state)
    return state


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (changed(lambda state: state.update({"head.weight": torch.zeros(1000, 320)})), "trained on ImageNet's labels"),
        (changed(lambda state: state.update({"stages.0.0.gamma": torch.zeros(40)})), "'stages.0.0.gamma' is in the"),
        (changed(lambda state: state.pop("stages.1.1.norm.bias")), "'stages.1.1.norm.bias' is missing"),
        (
            changed(lambda state: state.update({"downsample_layers.0.0.weight": torch.zeros(40, 12, 4, 4)})),
            "holds atto, original stem, patch 32 px of 12 channels",
        ),
        ({"stages.3.downsample.1.weight": torch.zeros(2, 2), "stages.0.blocks.0.attention.weight": torch.zeros(2, 2)},
         "other layers than timm's ConvNeXt V2"),
        ({"layer1.0.conv1.weight": torch.zeros(2, 2)}, "holds no published MMEarth encoder, nor ImageNet's FCMAE"),
    ],
)  # fmt: skip
def test_another_file_is_refused_in_one_sentence(state: State, words: str, tmp_path: Path) -> None:
    torch.save({"model": state}, tmp_path / "file.pt")
    with pytest.raises(Fatal, match=words):
        load_encoder(tmp_path / "file.pt")
    with pytest.raises(Fatal, match=words if "MMEarth" not in words else "no ConvNeXt V2 of ImageNet's FCMAE"):
        save_file(dict(state), tmp_path / "file.safetensors")
        load_encoder(tmp_path / "file.safetensors")
