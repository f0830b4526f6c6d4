"""One class per pixel: a decoder that climbs from the coarsest map to the finest (Ronneberger et al. 2015)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from training.model.encoder import ChannelNorm, Encoder, initialise


class UpBlock(nn.Sequential):
    """Enlarge by `factor`, then mix: (batch, channels, y, x) to (batch, width, y * factor, x * factor)."""

    def __init__(self, channels: int, width: int, factor: int) -> None:
        super().__init__(
            nn.Upsample(scale_factor=factor, mode="nearest"), nn.Conv2d(channels, width, 3, padding=1),
            ChannelNorm(width), nn.GELU(),
        )  # fmt: skip


class UNet(nn.Module):
    """`encoder` with a fresh decoder that sees its features at all four scales.

    The same for both stems: the last step goes from the first stage to pixels, where the modified stem has the same
    resolution at a patch of 8 px. The published one adds the map of that stem's first convolution there.
    """

    def __init__(self, encoder: Encoder, classes: int) -> None:
        super().__init__()
        widths = encoder.architecture.size.widths
        self.encoder = encoder
        above = (widths[3], *(2 * width for width in (widths[2], widths[1])))
        self.climbs = nn.ModuleList(
            UpBlock(channels, width, 2) for channels, width in zip(above, reversed(widths[:3]), strict=True)
        )
        self.last = UpBlock(2 * widths[0], widths[0], encoder.architecture.stem_stride)
        self.head = nn.Conv2d(widths[0], classes, 1)
        for part in (self.climbs, self.last, self.head):
            initialise(part)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (batch, classes, y, x) of (batch, channels, y, x)."""
        *finer, maps = self.encoder.features(image)
        for climb, skipped in zip(self.climbs, reversed(finer), strict=True):
            maps = torch.cat([climb(maps), skipped], dim=1)
        return cast(Tensor, self.head(self.last(maps)))
