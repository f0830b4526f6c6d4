"""One class per pixel: a decoder from the coarsest feature map to the finest (Ronneberger et al. 2015)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from training.model.encoder import ChannelNorm, Encoder, initialise


class UpBlock(nn.Sequential):
    """Upsampling and a convolution: (batch, channels, y, x) to (batch, width, y * factor, x * factor)."""

    def __init__(self, channels: int, width: int, factor: int) -> None:
        super().__init__(
            nn.Upsample(scale_factor=factor, mode="nearest"), nn.Conv2d(channels, width, 3, padding=1),
            ChannelNorm(width), nn.GELU(),
        )  # fmt: skip


class UNet(nn.Module):
    """`encoder` with a new decoder that takes its features at all four scales; `Fatal` without a site for each patch.

    It is the same for both stems: the last block goes from the first stage to pixels. There the published decoder also
    takes the map of the modified stem's first convolution, which has the same resolution at a patch of 8 px.
    """

    def __init__(self, encoder: Encoder, classes: int) -> None:
        super().__init__()
        encoder.refuse_unpadded("a decoder to pixels")
        widths = encoder.architecture.size.widths
        self.encoder = encoder
        above = (widths[3], *(2 * width for width in (widths[2], widths[1])))
        self.climbs = nn.ModuleList(  # The name in stored files.
            UpBlock(channels, width, 2) for channels, width in zip(above, reversed(widths[:3]), strict=True)
        )
        self.last = UpBlock(2 * widths[0], widths[0], encoder.architecture.stem_stride)
        self.head = nn.Conv2d(widths[0], classes, 1)
        for part in (self.climbs, self.last, self.head):
            initialise(part)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (batch, classes, y, x) of images (batch, channels, y, x), both floating point."""
        *finer, maps = self.encoder.features(image)
        for block, skipped in zip(self.climbs, reversed(finer), strict=True):
            maps = torch.cat([block(maps), skipped], dim=1)
        return cast(Tensor, self.head(self.last(maps)))
