"""Published checkpoints without one at hand: a state dict in their layout, and a plain sparse net that runs on it.

Written from the layout's description and from the sparse engine's own order of a kernel's places (its first spatial
coordinate, y, runs fastest), with nothing of `training`: sites in a dictionary, one Python sum per site and place.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Sites = dict[tuple[int, int], Tensor]


def make_state(depths, widths, channels: int, patch_px: int, stem: str) -> dict[str, Tensor]:
    """Random weights under the keys and in the shapes of `checkpoint-199.pth`."""
    random, stride, state = torch.Generator().manual_seed(patch_px), patch_px // 8, {}

    def put(name: str, *shape: int) -> None:
        state[f"encoder.{name}"] = torch.randn(*shape, generator=random, dtype=torch.float64).float() * 0.5

    def norm(name: str, width: int) -> None:
        put(f"{name}.ln.weight", width)
        put(f"{name}.ln.bias", width)

    def conv(name: str, *shape: int) -> None:
        put(f"{name}.kernel", *shape)
        put(f"{name}.bias", 1, shape[-1])

    if stem == "original":
        conv("stem_orig.0", *((channels, widths[0]) if stride == 1 else (stride**2, channels, widths[0])))
        norm("stem_orig.1", widths[0])
    else:
        conv("initial_conv.0", 9, channels, widths[0])
        norm("initial_conv.1", widths[0])
        conv("stem.0", stride**2, widths[0])
        norm("stem.1", widths[0])
    for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
        if stage:
            norm(f"downsample_layers.{stage - 1}.0", widths[stage - 1])
            conv(f"downsample_layers.{stage - 1}.1", 4, widths[stage - 1], width)
        for index in range(depth):
            name = f"stages.{stage}.{index}"
            conv(f"{name}.dwconv", 49, width)
            norm(f"{name}.norm", width)
            for part, out, into in (("pwconv1", 4 * width, width), ("pwconv2", width, 4 * width)):
                put(f"{name}.{part}.linear.weight", out, into)
                put(f"{name}.{part}.linear.bias", out)
            put(f"{name}.grn.gamma", 1, 4 * width)
            put(f"{name}.grn.beta", 1, 4 * width)
    return state


def make_checkpoint(path: Path, state: dict[str, Tensor]) -> Path:
    """A file with what surrounds the encoder in a published one."""
    pretext = {
        "mask_token": torch.zeros(1, 8, 1, 1), "proj.weight": torch.zeros(8, 6, 1, 1), "proj.bias": torch.zeros(8),
        "decoder_dict.any.0.dwconv.weight": torch.zeros(8, 1, 7, 7), "pred_dict.any.weight": torch.zeros(4, 8, 1, 1),
        "layer_norm_tmp.weight": torch.zeros(8), "loss_fn.log_vars": torch.zeros(12),
    }  # fmt: skip
    args = argparse.Namespace(model="convnextv2_atto", data_dir=Path("data"), use_orig_stem=False)
    whole: dict[str, Any] = {"model": state | pretext, "optimizer": {"state": {}}, "epoch": 199, "scaler": {}}
    torch.save(whole | {"args": args}, path)
    return path


def run(state: dict[str, Tensor], image: Tensor, visible: Tensor, patch_px: int, depths) -> Sites:
    """Features per visible patch of one image (channels, y, x)."""
    weights = {name.removeprefix("encoder."): item.to(image.dtype) for name, item in state.items()}
    sites = {(y, x): image[:, y, x] for y in range(image.shape[1]) for x in range(image.shape[2])
             if visible[y // patch_px, x // patch_px]}  # fmt: skip
    if "stem_orig.0.kernel" in weights:
        sites = layer_norm(weights, "stem_orig.1", strided(weights, "stem_orig.0", sites))
    else:
        sites = layer_norm(weights, "initial_conv.1", centred(weights, "initial_conv.0", sites))
        sites = {site: torch.nn.functional.gelu(item) for site, item in sites.items()}
        sites = layer_norm(weights, "stem.1", strided(weights, "stem.0", sites))
    for stage, depth in enumerate(depths):
        if stage:
            name = f"downsample_layers.{stage - 1}"
            sites = strided(weights, f"{name}.1", layer_norm(weights, f"{name}.0", sites))
        for index in range(depth):
            sites = block(weights, f"stages.{stage}.{index}", sites)
    return sites


def apply(kernel: Tensor, value: Tensor) -> Tensor:
    """One place of a kernel: a matrix (in, out), or a factor per channel."""
    return value @ kernel if kernel.ndim == 2 else value * kernel


def centred(weights: dict[str, Tensor], name: str, sites: Sites) -> Sites:
    kernel, bias = weights[f"{name}.kernel"], weights[f"{name}.bias"][0]
    side = round(len(kernel) ** 0.5)
    result = {}
    for y, x in sites:
        total = bias
        for index, place in enumerate(kernel):
            source = (y + index % side - side // 2, x + index // side - side // 2)
            total = total + apply(place, sites[source]) if source in sites else total
        result[y, x] = total
    return result


def strided(weights: dict[str, Tensor], name: str, sites: Sites) -> Sites:
    kernel, bias = weights[f"{name}.kernel"], weights[f"{name}.bias"][0]
    # A single place without a stride is kept as a bare matrix by full convolutions; depthwise ones keep (1, channels).
    kernel = kernel[None] if name == "stem_orig.0" and kernel.ndim == 2 else kernel
    side = round(len(kernel) ** 0.5)
    result: Sites = {}
    for (y, x), value in sites.items():
        coarse = (y // side, x // side)
        result[coarse] = result.get(coarse, bias) + apply(kernel[y % side + side * (x % side)], value)
    return result


def layer_norm(weights: dict[str, Tensor], name: str, sites: Sites) -> Sites:
    scale, shift = weights[f"{name}.ln.weight"], weights[f"{name}.ln.bias"]
    return {site: (item - item.mean()) / (item.var(correction=0) + 1e-6).sqrt() * scale + shift
            for site, item in sites.items()}  # fmt: skip


def block(weights: dict[str, Tensor], name: str, sites: Sites) -> Sites:
    inner = layer_norm(weights, f"{name}.norm", centred(weights, f"{name}.dwconv", sites))
    first, second = (f"{name}.{part}.linear" for part in ("pwconv1", "pwconv2"))
    hidden = {site: torch.nn.functional.gelu(weights[f"{first}.weight"] @ item + weights[f"{first}.bias"])
              for site, item in inner.items()}  # fmt: skip
    response = torch.stack(list(hidden.values())).pow(2).sum(0).sqrt()
    response = response / (response.mean() + 1e-6)
    gamma, beta = weights[f"{name}.grn.gamma"][0], weights[f"{name}.grn.beta"][0]
    answered = {site: gamma * item * response + beta + item for site, item in hidden.items()}
    matrix, bias = weights[f"{second}.weight"], weights[f"{second}.bias"]
    return {site: sites[site] + matrix @ item + bias for site, item in answered.items()}
