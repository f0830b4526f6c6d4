"""An independent sparse reading of the encoder: lists of visible sites, gathered and looped over.

It follows the definition of submanifold sparse convolution (Graham and van der Maaten 2017): a site exists where its
patch is visible, a kernel reads the sites that exist, and nothing is computed anywhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from training.model.encoder import Block, Encoder

Site = tuple[int, int, int]  # image, y, x


@dataclass
class Trace:
    """What came out of every layer, by the module's name: sites, and their values (sites, channels)."""

    over_batch: bool
    layers: dict[str, tuple[list[Site], Tensor]] = field(default_factory=dict)

    def keep(self, name: str, sites: list[Site], values: Tensor) -> Tensor:
        self.layers[name] = sites, values
        return values


def sparse_trace(encoder: Encoder, images: Tensor, visible: Tensor) -> Trace:
    """Every layer on `images` (batch, channels, y, x) with `visible` (batch, y, x) per patch, and "features" last."""
    patch, trace = encoder.patch_px, Trace(encoder.architecture.grn_scope == "batch")
    sites = [
        (image, int(y), int(x))
        for image in range(len(images))
        for y in range(images.shape[2])
        for x in range(images.shape[3])
        if visible[image, y // patch, x // patch]
    ]
    values = torch.stack([images[image, :, y, x] for image, y, x in sites])
    stem = _original_stem if hasattr(encoder, "stem_orig") else _modified_stem
    sites, values = stem(encoder, trace, sites, values)
    for stage in range(4):
        if stage:
            name, (norm, conv) = f"downsample_layers.{stage - 1}", encoder.downsample_layers[stage - 1]
            values = trace.keep(f"{name}.0", sites, _norm(norm, values))
            sites, values = _down(sites, values, conv.weight, conv.bias)
            trace.keep(f"{name}.1", sites, values)
        for index, block in enumerate(encoder.stages[stage]):
            values = _block(block, f"stages.{stage}.{index}", trace, sites, values)
    trace.keep("features", sites, values)
    return trace


def _modified_stem(encoder: Encoder, trace: Trace, sites: list[Site], values: Tensor) -> tuple[list[Site], Tensor]:
    first, norm = encoder.initial_conv[0], encoder.initial_conv[1]
    values = trace.keep("initial_conv.0", sites, _same(sites, values, first.weight, first.bias))
    values = functional.gelu(trace.keep("initial_conv.1", sites, _norm(norm, values)))
    sites, values = _down(sites, values, _dense_kernel(encoder.stem[0].weight), encoder.stem[0].bias)
    trace.keep("stem.0", sites, values)
    return sites, trace.keep("stem.1", sites, _norm(encoder.stem[1], values))


def _original_stem(encoder: Encoder, trace: Trace, sites: list[Site], values: Tensor) -> tuple[list[Site], Tensor]:
    conv, norm = encoder.stem_orig
    sites, values = _down(sites, values, conv.weight, conv.bias)
    trace.keep("stem_orig.0", sites, values)
    return sites, trace.keep("stem_orig.1", sites, _norm(norm, values))


def _norm(norm: torch.nn.LayerNorm, values: Tensor) -> Tensor:
    mean = values.mean(1, keepdim=True)
    variance = ((values - mean) ** 2).mean(1, keepdim=True)
    return (values - mean) / torch.sqrt(variance + norm.eps) * norm.weight + norm.bias


def _dense_kernel(depthwise: Tensor) -> Tensor:
    """A depthwise kernel (channels, 1, k, k) as a full one that mixes nothing."""
    return torch.eye(len(depthwise), dtype=depthwise.dtype)[:, :, None, None] * depthwise


def _same(sites: list[Site], values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Every site sums over the neighbours that exist."""
    place = {site: index for index, site in enumerate(sites)}
    reach = weight.shape[-1] // 2
    out = bias.expand(len(sites), -1)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            near = [(image, y + dy, x + dx) for image, y, x in sites]
            pairs = [(index, place[site]) for index, site in enumerate(near) if site in place]
            to, source = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T
            out = out.index_add(0, to, values[source] @ weight[:, :, dy + reach, dx + reach].T)
    return out


def _down(sites: list[Site], values: Tensor, weight: Tensor, bias: Tensor) -> tuple[list[Site], Tensor]:
    """Kernel and stride alike: each coarse site sums over the fine ones inside it."""
    stride = weight.shape[-1]
    coarse = sorted({(image, y // stride, x // stride) for image, y, x in sites})
    place = {site: index for index, site in enumerate(coarse)}
    out = bias.expand(len(coarse), -1)
    for value, (image, y, x) in zip(values, sites, strict=True):
        index = torch.tensor([place[image, y // stride, x // stride]])
        out = out.index_add(0, index, (weight[:, :, y % stride, x % stride] @ value)[None])
    return coarse, out


def _block(block: Block, name: str, trace: Trace, sites: list[Site], values: Tensor) -> Tensor:
    kernel = _dense_kernel(block.dwconv.weight)
    inner = trace.keep(f"{name}.dwconv", sites, _same(sites, values, kernel, block.dwconv.bias))
    inner = trace.keep(f"{name}.norm", sites, _norm(block.norm, inner))
    inner = trace.keep(f"{name}.pwconv1", sites, inner @ block.pwconv1.weight.T + block.pwconv1.bias)
    inner = functional.gelu(inner)
    response = _response(trace.over_batch, sites, inner)
    gamma, beta = block.grn.gamma.flatten(), block.grn.beta.flatten()
    inner = trace.keep(f"{name}.grn", sites, gamma * inner * response + beta + inner)
    inner = trace.keep(f"{name}.pwconv2", sites, inner @ block.pwconv2.weight.T + block.pwconv2.bias)
    return trace.keep(name, sites, values + inner)


def _response(over_batch: bool, sites: list[Site], values: Tensor) -> Tensor:
    """Relative response (sites, channels): over each image's own sites, or over all."""
    member = [0 if over_batch else image for image, _, _ in sites]
    relative = {}
    for image in set(member):
        own = values[[index for index, other in enumerate(member) if other == image]]
        norm = torch.sqrt((own**2).sum(0))
        relative[image] = norm / (norm.mean() + 1e-6)
    return torch.stack([relative[image] for image in member])
