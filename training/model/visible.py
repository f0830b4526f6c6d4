"""Computes the encoder for visible patches only, and losses for hidden patches only.

The depthwise convolutions are the exception. They need three sites around a patch in every direction; with this rim,
the visible two fifths of a map have more sites than the whole map, so they stay dense. All other operations, nine
tenths of the arithmetic, work site by site or inside a patch. Apart from rounding, the results equal those of the dense
masked encoder.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.architecture import STAGES
from training.batch import Batch
from training.model.encoder import Block, Encoder, enlarge


@dataclass(frozen=True)
class Patches:
    """The same number of patches of every image: `indices` (batch, keep) int64, row-major in `side` x `side`."""

    indices: Tensor
    side: int

    @classmethod
    def of(cls, visible: Tensor, keep: int) -> Patches:
        """From a mask (batch, y, x) bool with exactly `keep` True patches per image; does not wait for the device."""
        order = visible.flatten(1).to(torch.uint8).argsort(dim=1, descending=True, stable=True)
        return cls(order[:, :keep], visible.shape[-1])

    def sites(self, edge: int, rim: int = 0) -> Tensor:
        """Row indices (sites,) int64 of these patches in maps flattened to (batch * y * x, channels), patch by patch.

        A patch has `edge` sites along an edge, and `rim` more sites on every side; the maps are padded by `rim`.
        """
        batch, width = len(self.indices), self.side * edge + 2 * rim
        top, left = self.indices // self.side * edge, self.indices % self.side * edge
        inside = torch.arange(edge + 2 * rim, device=self.indices.device)
        y, x = top[..., None, None] + inside[:, None], left[..., None, None] + inside
        image = torch.arange(batch, device=self.indices.device)[:, None, None, None]
        return ((image * width + y) * width + x).flatten()


def encode_visible(encoder: Encoder, image: Tensor, visible: Tensor, keep: int) -> Tensor:
    """Features (batch, width, y, x), one site per patch, zero where hidden, of `image` (batch, channels, y, x).

    `visible` (batch, y, x) bool has exactly `keep` True patches per image; images are square.
    """
    patches = Patches.of(visible, keep)
    tiles = _stem(encoder, image.masked_fill(~enlarge(visible, encoder.patch_px), 0), patches)
    for stage in range(STAGES):
        tiles = encoder.downsample_layers[stage - 1](tiles) if stage else tiles
        tiles = _stage(cast(nn.ModuleList, encoder.stages[stage]), tiles, patches)
    result = _scattered(tiles.flatten(1), patches.sites(1), patches, edge=1)
    return result.view(len(image), patches.side, patches.side, -1).permute(0, 3, 1, 2)


def hidden_tiles(batch: Batch, names: Collection[str], keep: int) -> tuple[Batch, Patches]:
    """A batch of hidden patches and their indices: in the layers `names`, every hidden patch is one row.

    All but `keep` patches of every image are hidden. Other layers are unchanged, with one row per image. Nothing in the
    result is visible.
    """
    side = batch.visible.shape[-1]
    hidden = Patches.of(~batch.visible, side**2 - keep)
    edge = {name: batch.values[name].shape[-1] // side for name in names}
    values = {name: tiles_of(batch.values[name], hidden, edge[name]) for name in names}
    valid = {name: tiles_of(batch.valid[name], hidden, edge[name]) for name in names}
    nothing = batch.visible.new_zeros(hidden.indices.numel(), 1, 1)
    return Batch(batch.values | values, batch.valid | valid, nothing, batch.rows), hidden


def _stem(encoder: Encoder, image: Tensor, patches: Patches) -> Tensor:
    """The maps after the stem (patches, channels, y, x) of the visible patches."""
    if encoder.architecture.stem == "original":
        return cast(Tensor, encoder.stem_orig(tiles_of(image, patches, encoder.patch_px)))
    first, norm, activation = encoder.initial_conv
    conv = cast(nn.Conv2d, first)
    rim = tiles_of(functional.pad(image, (1, 1, 1, 1)), patches, encoder.patch_px, rim=1)
    return cast(Tensor, encoder.stem(activation(norm(functional.conv2d(rim, conv.weight, conv.bias)))))


def tiles_of(maps: Tensor, patches: Patches, edge: int, rim: int = 0) -> Tensor:
    """`patches` of dense maps (batch, channels, y, x), as (patches, channels, edge + 2 rim, edge + 2 rim)."""
    rows = maps.permute(0, 2, 3, 1).flatten(0, 2).index_select(0, patches.sites(edge, rim))
    return rows.view(-1, edge + 2 * rim, edge + 2 * rim, maps.shape[1]).permute(0, 3, 1, 2)


def _stage(blocks: nn.ModuleList, tiles: Tensor, patches: Patches) -> Tensor:
    """The blocks of one stage applied to tiles (patches, channels, edge, edge)."""
    edge = tiles.shape[-1]
    sites = patches.sites(edge)
    rows = tiles.permute(0, 2, 3, 1).flatten(0, 2)
    for block in blocks:
        rows = _block(cast(Block, block), rows, sites, patches, edge)
    return rows.view(-1, edge, edge, rows.shape[-1]).permute(0, 3, 1, 2)


def _block(block: Block, rows: Tensor, sites: Tensor, patches: Patches, edge: int) -> Tensor:
    """`Block.forward` for visible sites (sites, channels); only the depthwise convolution uses whole maps."""
    batch, side = len(patches.indices), patches.side * edge
    maps = _scattered(rows, sites, patches, edge).view(batch, side, side, -1).permute(0, 3, 1, 2)
    inner = block.dwconv(maps).permute(0, 2, 3, 1).flatten(0, 2).index_select(0, sites)
    inner = functional.gelu(block.pwconv1(block.norm(inner)))
    inner = block.grn(inner.view(batch, -1, 1, inner.shape[-1]))  # All images have equally many sites: an axis.
    return rows + block.drop_path(block.pwconv2(inner)).flatten(0, 2)


def _scattered(rows: Tensor, sites: Tensor, patches: Patches, edge: int) -> Tensor:
    """Flattened maps (batch * y * x, channels) with `rows` at `sites` and zeros elsewhere."""
    maps = rows.new_zeros(len(patches.indices) * (patches.side * edge) ** 2, rows.shape[1])
    return maps.index_copy(0, sites, rows)
