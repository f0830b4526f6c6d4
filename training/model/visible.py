"""The encoder over visible patches alone, and losses over hidden ones: what a mask rules out is not computed.

Except in the depthwise convolutions. They look three sites beyond a patch in every direction: with that rim, the
visible two fifths of a map are more sites than the whole, so they stay dense. All else, nine tenths of the arithmetic,
works site by site or inside a patch. The results are those of the dense masked way, rounding apart.
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
    """Some patches, as many of every image: `places` (batch, keep) count along rows of `side`."""

    places: Tensor
    side: int

    @classmethod
    def of(cls, visible: Tensor, keep: int) -> Patches:
        """Of a mask (batch, y, x) that is True at exactly `keep` patches of every image; never waits for the device."""
        order = visible.flatten(1).to(torch.uint8).argsort(dim=1, descending=True, stable=True)
        return cls(order[:, :keep], visible.shape[-1])

    def sites(self, edge: int, rim: int = 0) -> Tensor:
        """Rows of their sites in maps flattened to (batch * y * x, channels), patch after patch.

        Patches have `edge` sites along an edge; `rim` more sites are taken around each, from maps enlarged by as many.
        """
        batch, width = len(self.places), self.side * edge + 2 * rim
        top, left = self.places // self.side * edge, self.places % self.side * edge
        inside = torch.arange(edge + 2 * rim, device=self.places.device)
        y, x = top[..., None, None] + inside[:, None], left[..., None, None] + inside
        image = torch.arange(batch, device=self.places.device)[:, None, None, None]
        return ((image * width + y) * width + x).flatten()


def encode_visible(encoder: Encoder, image: Tensor, visible: Tensor, keep: int) -> Tensor:
    """Features (batch, width, y, x), one site per patch, zeros where hidden, of `image` (batch, channels, y, x).

    `visible` (batch, y, x) is True at exactly `keep` patches of every image; images are square.
    """
    patches = Patches.of(visible, keep)
    tiles = _stem(encoder, image.masked_fill(~enlarge(visible, encoder.patch_px), 0), patches)
    for stage in range(STAGES):
        tiles = encoder.downsample_layers[stage - 1](tiles) if stage else tiles
        tiles = _stage(cast(nn.ModuleList, encoder.stages[stage]), tiles, patches)
    result = _scattered(tiles.flatten(1), patches.sites(1), patches, edge=1)
    return result.view(len(image), patches.side, patches.side, -1).permute(0, 3, 1, 2)


def hidden_tiles(batch: Batch, names: Collection[str], keep: int) -> tuple[Batch, Patches]:
    """The layers `names` at hidden patches alone, each patch as a chip of its own, nothing of it visible.

    All but `keep` patches of every image are hidden. Other layers stay as they are, one row per image.
    """
    side = batch.visible.shape[-1]
    hidden = Patches.of(~batch.visible, side**2 - keep)
    edge = {name: batch.values[name].shape[-1] // side for name in names}
    values = {name: tiles_of(batch.values[name], hidden, edge[name]) for name in names}
    valid = {name: tiles_of(batch.valid[name], hidden, edge[name]) for name in names}
    nothing = batch.visible.new_zeros(hidden.places.numel(), 1, 1)
    return Batch(batch.values | values, batch.valid | valid, nothing, batch.rows), hidden


def _stem(encoder: Encoder, image: Tensor, patches: Patches) -> Tensor:
    """First maps (patches, channels, y, x) of the visible patches."""
    if encoder.architecture.stem == "original":
        return cast(Tensor, encoder.stem_orig(tiles_of(image, patches, encoder.patch_px)))
    first, norm, activation = encoder.initial_conv
    conv = cast(nn.Conv2d, first)
    rim = tiles_of(functional.pad(image, (1, 1, 1, 1)), patches, encoder.patch_px, rim=1)
    return cast(Tensor, encoder.stem(activation(norm(functional.conv2d(rim, conv.weight, conv.bias)))))


def tiles_of(maps: Tensor, patches: Patches, edge: int, rim: int = 0) -> Tensor:
    """These patches of dense maps (batch, channels, y, x), as (patches, channels, edge + 2 rim, edge + 2 rim)."""
    rows = maps.permute(0, 2, 3, 1).flatten(0, 2).index_select(0, patches.sites(edge, rim))
    return rows.view(-1, edge + 2 * rim, edge + 2 * rim, maps.shape[1]).permute(0, 3, 1, 2)


def _stage(blocks: nn.ModuleList, tiles: Tensor, patches: Patches) -> Tensor:
    """The blocks of one stage on tiles (patches, channels, edge, edge)."""
    edge = tiles.shape[-1]
    sites = patches.sites(edge)
    rows = tiles.permute(0, 2, 3, 1).flatten(0, 2)
    for block in blocks:
        rows = _block(cast(Block, block), rows, sites, patches, edge)
    return rows.view(-1, edge, edge, rows.shape[-1]).permute(0, 3, 1, 2)


def _block(block: Block, rows: Tensor, sites: Tensor, patches: Patches, edge: int) -> Tensor:
    """`Block.forward` on the visible sites (sites, channels); only the depthwise convolution sees whole maps."""
    batch, side = len(patches.places), patches.side * edge
    maps = _scattered(rows, sites, patches, edge).view(batch, side, side, -1).permute(0, 3, 1, 2)
    inner = block.dwconv(maps).permute(0, 2, 3, 1).flatten(0, 2).index_select(0, sites)
    inner = functional.gelu(block.pwconv1(block.norm(inner)))
    inner = block.grn(inner.view(batch, -1, 1, inner.shape[-1]))  # As many sites in every image: its own axis.
    return rows + block.drop_path(block.pwconv2(inner)).flatten(0, 2)


def _scattered(rows: Tensor, sites: Tensor, patches: Patches, edge: int) -> Tensor:
    """Rows of whole maps (batch * y * x, channels), zeros where hidden, from those of the visible sites."""
    whole = rows.new_zeros(len(patches.places) * (patches.side * edge) ** 2, rows.shape[1])
    return whole.index_copy(0, sites, rows)
