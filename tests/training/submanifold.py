"""An independent sparse reading of the encoder: lists of visible sites, gathered and looped over, one image at a time.

It follows the definition of submanifold sparse convolution (Graham and van der Maaten 2017): a site exists where its
patch is visible, a kernel reads the sites that exist, and nothing is computed anywhere else.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.encoder import Block, Encoder

Site = tuple[int, int]


def sparse_features(encoder: Encoder, image: Tensor, visible: Tensor) -> dict[Site, Tensor]:
    """Features (width,) per visible patch of one image (channels, y, x), `visible` (y, x) per patch."""
    patch = encoder.patch_px
    sites = [
        (int(y), int(x))
        for y in range(image.shape[1])
        for x in range(image.shape[2])
        if visible[y // patch, x // patch]
    ]
    values = torch.stack([image[:, y, x] for y, x in sites])
    first, norm = encoder.initial_conv[0], encoder.initial_conv[1]
    values = functional.gelu(_norm(norm, _same(sites, values, first.weight, first.bias)))
    stem = encoder.stem[0]
    sites, values = _down(sites, values, _dense_kernel(stem.weight), stem.bias, patch // 8)
    values = _norm(encoder.stem[1], values)
    for stage in range(4):
        if stage:
            norm, conv = encoder.downsample_layers[stage - 1]
            sites, values = _down(sites, _norm(norm, values), conv.weight, conv.bias, 2)
        for block in encoder.stages[stage]:
            values = _block(block, sites, values)
    return dict(zip(sites, values, strict=True))


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
            pairs = [(i, place[y + dy, x + dx]) for i, (y, x) in enumerate(sites) if (y + dy, x + dx) in place]
            to, source = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T
            out = out.index_add(0, to, values[source] @ weight[:, :, dy + reach, dx + reach].T)
    return out


def _down(sites: list[Site], values: Tensor, weight: Tensor, bias: Tensor, stride: int) -> tuple[list[Site], Tensor]:
    """Kernel and stride alike: each coarse site sums over the fine ones inside it."""
    coarse = sorted({(y // stride, x // stride) for y, x in sites})
    place = {site: index for index, site in enumerate(coarse)}
    out = bias.expand(len(coarse), -1)
    for value, (y, x) in zip(values, sites, strict=True):
        index = torch.tensor([place[y // stride, x // stride]])
        out = out.index_add(0, index, (weight[:, :, y % stride, x % stride] @ value)[None])
    return coarse, out


def _block(block: Block, sites: list[Site], values: Tensor) -> Tensor:
    inner = _same(sites, values, _dense_kernel(block.dwconv.weight), block.dwconv.bias)
    inner = _norm(block.norm, inner) @ block.pwconv1.weight.T + block.pwconv1.bias
    inner = functional.gelu(inner)
    response = torch.sqrt((inner**2).sum(0))
    inner = block.grn.gamma.flatten() * inner * response / (response.mean() + 1e-6) + block.grn.beta.flatten() + inner
    return values + inner @ block.pwconv2.weight.T + block.pwconv2.bias
