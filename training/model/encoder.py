"""A dense ConvNeXt V2 that equals a sparse one: hidden patches have no effect on the visible ones."""

from __future__ import annotations

from itertools import count, pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.errors import Fatal
from training.architecture import STAGES, Architecture, Geometry, GrnScope, InitStd, Size, Stem

_EPSILON = 1e-6
_FIXED_STD = 0.02


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (batch, channels, y, x)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=_EPSILON)

    def forward(self, maps: Tensor) -> Tensor:
        """Same shape as `maps`."""
        return super().forward(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ResponseNorm(nn.Module):
    """Global response normalisation (Woo et al. 2023) of (batch, y, x, channels).

    `over` = "image": the norm is taken over the visible sites of each image; hidden sites must be zero, which adds
    nothing to a norm. "batch" takes one norm over the whole batch, as the published sparse code does: then the features
    of an image depend on the other images of the batch, and they change in a dense net, which takes the norm per image.
    Norms are divided by their mean over channels, so the number of visible sites cancels out, and the same weights work
    for images without a mask. docs/training.md has measurements of both.
    """

    def __init__(self, channels: int, over: GrnScope = Architecture.grn_scope, epsilon: float = _EPSILON) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, channels))
        self.beta = nn.Parameter(torch.zeros(1, 1, 1, channels))
        self._axes = (1, 2) if over == "image" else (0, 1, 2)

    def forward(self, maps: Tensor) -> Tensor:
        """Same shape and dtype as `maps`; the norm is computed in float32 at least."""
        exact = maps if maps.dtype == torch.float64 else maps.float()
        response = torch.linalg.vector_norm(exact, dim=self._axes, keepdim=True)
        relative = response / (response.mean(dim=-1, keepdim=True) + self.epsilon)
        return self.gamma * (maps * relative.to(maps.dtype)) + self.beta + maps


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016): in training, a residual branch (batch, ...) is zeroed for random images."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        """Same shape as `branch`; the remaining images are scaled up, so that the mean does not change."""
        if not self.training or not self.rate:
            return branch
        keep = branch.new_empty((len(branch),) + (1,) * (branch.ndim - 1)).bernoulli_(1 - self.rate)
        return branch * keep / (1 - self.rate)


class Block(nn.Module):
    """ConvNeXt V2 block on (batch, channels, y, x): 7x7 depthwise, norm, 1x1 to four times the width and back."""

    def __init__(
        self, width: int, grn_scope: GrnScope = Architecture.grn_scope, drop_path: float = 0.0,
        grn_epsilon: float = _EPSILON,
    ) -> None:  # fmt: skip
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=_EPSILON)
        self.pwconv1 = nn.Linear(width, 4 * width)
        self.grn = ResponseNorm(4 * width, grn_scope, grn_epsilon)
        self.pwconv2 = nn.Linear(4 * width, width)
        self.drop_path = DropPath(drop_path)

    def forward(self, maps: Tensor, visible: Tensor | None = None) -> Tensor:
        """`visible` (batch, 1, y, x) bool is True for visible sites; None means all. Same shape as `maps`."""
        inner = self.dwconv(maps).permute(0, 2, 3, 1)
        inner = functional.gelu(self.pwconv1(self.norm(inner)))
        # The convolution and the biases made hidden sites non-zero; the response must not include them.
        inner = self.grn(inner if visible is None else inner * visible.permute(0, 2, 3, 1))
        return _keep(maps + self.drop_path(self.pwconv2(inner).permute(0, 3, 1, 2)), visible)


class Encoder(nn.Module):
    """ConvNeXt V2 with MP-MAE's stem or its own; modules are named as in the published checkpoints.

    MP-MAE's stem ("modified") is a 3x3 convolution at full resolution, then a depthwise one of kernel and stride
    `patch_px` // 8; the "original" is one convolution of that kernel and stride. Three 2x2 convolutions of stride 2
    between the stages give one output site per patch; for `geometry` see `Architecture`. `drop_path` is the rate of the
    last block; it rises linearly from 0 in the first.
    """

    def __init__(
        self, channels: int, size: Size, patch_px: int, stem: Stem = Architecture.stem,
        grn_scope: GrnScope = Architecture.grn_scope, drop_path: float = 0.0, geometry: Geometry = "sparse",
    ) -> None:  # fmt: skip
        super().__init__()
        self.architecture = Architecture(channels, size, patch_px, stem, grn_scope, geometry)
        self.patch_px, self.width, widths = patch_px, size.widths[-1], size.widths
        self._build_stem(channels, widths[0], self.architecture.stem_stride)
        self.downsample_layers = nn.ModuleList(
            nn.Sequential(ChannelNorm(narrow), nn.Conv2d(narrow, wide, 2, 2)) for narrow, wide in pairwise(widths)
        )
        epsilon = self.architecture.grn_epsilon
        rates = (drop_path * index / (sum(size.depths) - 1) for index in count())
        self.stages = nn.ModuleList(
            nn.ModuleList(Block(width, grn_scope, next(rates), epsilon) for _ in range(depth))
            for width, depth in zip(widths, size.depths, strict=True)
        )

    @classmethod
    def of(cls, architecture: Architecture, drop_path: float = 0.0) -> Encoder:
        """An encoder of this architecture, with the initial weights of torch."""
        item = architecture
        return cls(item.channels, item.size, item.patch_px, item.stem, item.grn_scope, drop_path, item.geometry)

    def refuse_unpadded(self, purpose: str) -> None:
        """Raise `Fatal` for a geometry whose sites are not those of the patches, which `purpose` needs."""
        if not self.architecture.padded:
            raise Fatal(
                f"an encoder in the geometry {self.architecture.geometry!r} has no site for each patch, which "
                f"{purpose} needs; load the weights with geometry 'sparse' or 'published-unet'."
            )

    def _build_stem(self, channels: int, width: int, stride: int) -> None:
        if self.architecture.stem == "original":
            self.stem_orig = nn.Sequential(nn.Conv2d(channels, width, stride, stride), ChannelNorm(width))
            return
        self.initial_conv = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=int(self.architecture.padded)), ChannelNorm(width), nn.GELU()
        )
        self.stem = nn.Sequential(nn.Conv2d(width, width, stride, stride, groups=width), ChannelNorm(width))

    def _stem(self, image: Tensor) -> Tensor:
        result = self.stem_orig(image) if self.architecture.stem == "original" else self.stem(self.initial_conv(image))
        return cast(Tensor, result)

    def forward(self, image: Tensor, visible: Tensor | None = None) -> Tensor:
        """Features (batch, width, y / patch_px, x / patch_px) of `image` (batch, channels, y, x).

        `visible` (batch, y / patch_px, x / patch_px) bool is True for visible patches; features of hidden patches are
        zero. Raises `ValueError` for an image whose edges are not multiples of the patch, and for `visible` in a
        geometry without padding, whose map is a site or more narrower.
        """
        return self.features(image, visible)[-1]

    def features(self, image: Tensor, visible: Tensor | None = None) -> list[Tensor]:
        """The maps after each of the four stages, finest first (strides patch_px / 8, / 4, / 2, and patch_px).

        Raises `ValueError` for an image whose edges are not multiples of the patch.
        """
        if image.shape[-2] % self.patch_px or image.shape[-1] % self.patch_px:
            raise ValueError(f"image {tuple(image.shape[-2:])} is no multiple of the {self.patch_px} px patch")
        if visible is not None and not self.architecture.padded:
            raise ValueError("an encoder in the geometry of the published classifier takes whole images only")
        full = None if visible is None else enlarge(visible, self.patch_px)
        # Filled, not multiplied: a hidden pixel must have no effect even if it is NaN.
        maps = image if full is None else image.masked_fill(~full, 0)
        # The first convolution sees hidden pixels as 0, like absent sites. Its biases make them non-zero, but this
        # stays inside the patch until the first stage, which masks it.
        maps = self._stem(maps)
        result = []
        for stage in range(STAGES):
            maps = self.downsample_layers[stage - 1](maps) if stage else maps
            result.append(self._stage(stage, maps, visible))
            maps = result[-1]
        return result

    def _stage(self, stage: int, maps: Tensor, visible: Tensor | None) -> Tensor:
        sites = None if visible is None else enlarge(visible, 2 ** (STAGES - 1 - stage))
        maps = _keep(maps, sites)
        for block in cast(nn.ModuleList, self.stages[stage]):
            maps = block(maps, sites)
        return maps


def enlarge(visible: Tensor, factor: int) -> Tensor:
    """A mask of patches (batch, y, x) as a mask of sites (batch, 1, y * factor, x * factor), both bool."""
    return visible[:, None].repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)


def _keep(maps: Tensor, visible: Tensor | None) -> Tensor:
    """`maps` with zeros at hidden sites."""
    return maps if visible is None else maps * visible


def initialise(module: nn.Module, init_std: InitStd = "fixed") -> None:
    """Draw kernels from a truncated normal distribution and set biases to 0.

    The standard deviation is 0.02 ("fixed", as in ConvNeXt: Liu et al. 2022), which suits kernels of some 2,500 inputs,
    or 1 / sqrt(inputs of the kernel) ("fan-in": LeCun et al. 1998), which suits narrow nets.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            fan_in = part.weight[0].numel()
            nn.init.trunc_normal_(part.weight, std=_FIXED_STD if init_std == "fixed" else fan_in**-0.5)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
