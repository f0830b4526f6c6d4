"""A plain ConvNeXt V2 with timm's names, shapes and ways, for loading what we export; written from timm's source."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Norm2d(nn.LayerNorm):
    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class GrnScope(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))

    def forward(self, maps: Tensor) -> Tensor:
        response = maps.norm(p=2, dim=(2, 3), keepdim=True)
        relative = response / (response.mean(dim=1, keepdim=True) + 1e-6)
        return maps + self.bias[:, None, None] + self.weight[:, None, None] * maps * relative


class Mlp(nn.Module):
    def __init__(self, width: int, convolutions: bool) -> None:
        super().__init__()
        self.convolutions = convolutions
        self.fc1 = nn.Conv2d(width, 4 * width, 1) if convolutions else nn.Linear(width, 4 * width)
        self.grn = GrnScope(4 * width)
        self.fc2 = nn.Conv2d(4 * width, width, 1) if convolutions else nn.Linear(4 * width, width)

    def forward(self, maps: Tensor) -> Tensor:
        if self.convolutions:
            return self.fc2(self.grn(nn.functional.gelu(self.fc1(maps))))
        inner = nn.functional.gelu(self.fc1(maps.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        return self.fc2(self.grn(inner).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    def __init__(self, width: int, convolutions: bool) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = Norm2d(width, eps=1e-6)
        self.mlp = Mlp(width, convolutions)

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.mlp(self.norm(self.conv_dw(maps)))


class Stage(nn.Module):
    def __init__(self, before: int, width: int, depth: int, halves: bool, convolutions: bool) -> None:
        super().__init__()
        down = nn.Sequential(Norm2d(before, eps=1e-6), nn.Conv2d(before, width, 2, 2))
        self.downsample = down if halves else nn.Identity()
        self.blocks = nn.Sequential(*(Block(width, convolutions) for _ in range(depth)))

    def forward(self, maps: Tensor) -> Tensor:
        return self.blocks(self.downsample(maps))


class Head(nn.Module):
    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.norm, self.fc = Norm2d(width, eps=1e-6), nn.Linear(width, classes)

    def forward(self, maps: Tensor) -> Tensor:
        return self.fc(self.norm(maps.mean((2, 3), keepdim=True)).flatten(1))


class TimmConvNeXt(nn.Module):
    """`timm.create_model("convnextv2_*", in_chans=…, patch_size=…, num_classes=…)`; 4 is timm's own patch size."""

    def __init__(self, channels: int, depths, widths, patch_size: int = 4, classes: int = 1, convolutions=True) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, widths[0], patch_size, patch_size), Norm2d(widths[0], eps=1e-6))
        self.stages = nn.Sequential(
            *(Stage(widths[max(0, stage - 1)], width, depth, stage > 0 or patch_size == 2, convolutions)
              for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)))
        )  # fmt: skip
        self.head = Head(widths[-1], classes)

    def forward_features(self, maps: Tensor) -> Tensor:
        return self.stages(self.stem(maps))
