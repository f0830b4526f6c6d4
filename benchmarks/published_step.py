"""What a step costs the published code on its dense path: the same work in its order, written anew for this comparison.

Read in the published training code (docs/training.md names it): float32 throughout; norms over channels of
channels-first maps as a chain of plain operations; no mask inside the encoder; the one decoder block run anew for each
of the twelve outputs; every loss and the total brought to the host in every step. Its data are on the device already.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.architecture import SIZES
from training.batch import Batch
from training.layer import IGNORED, Layer
from training.model.encoder import Block, ChannelNorm, Encoder

_WIDTH, _EPSILON = 512, 1e-6


class PlainNorm(nn.Module):
    """Norm over the channels of (batch, channels, y, x), one operation after the other."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, maps: Tensor) -> Tensor:
        """Same shape as `maps`."""
        centred = maps - maps.mean(1, keepdim=True)
        scaled = centred / torch.sqrt(centred.pow(2).mean(1, keepdim=True) + _EPSILON)
        return self.weight[:, None, None] * scaled + self.bias[:, None, None]


class PublishedStep:
    """A model of the published shape and its optimiser."""

    def __init__(self, image: Layer, layers: Sequence[Layer], size: str, patch_px: int, device: torch.device) -> None:
        self.image, self.layers, self.patch_px, width = image, tuple(layers), patch_px, SIZES[size].widths[-1]
        encoder = Encoder(image.channels, SIZES[size], patch_px)
        _with_plain_norms(encoder)
        heads = [nn.Conv2d(_WIDTH, item.channels * patch_px**2, 1) if item.pixel else nn.Linear(_WIDTH, item.channels)
                 for item in layers]  # fmt: skip
        self.token = nn.Parameter(torch.zeros(1, _WIDTH, 1, 1, device=device))
        self.model = nn.ModuleDict({
            "encoder": encoder, "proj": nn.Conv2d(width, _WIDTH, 1), "decoder": Block(_WIDTH),
            "norm": PlainNorm(_WIDTH), "heads": nn.ModuleList(heads),
        }).to(device)  # fmt: skip
        self.optimiser = torch.optim.AdamW([*self.model.parameters(), self.token], lr=1e-4)

    def take(self, batch: Batch) -> float:
        """One update, and what it waits for: the total and each loss on the host."""
        losses = self._losses(batch)
        total = torch.stack(losses).sum()
        shown = [float(item.detach()) for item in (total, *losses)]
        self.optimiser.zero_grad()
        total.backward()
        self.optimiser.step()
        return shown[0]

    def _losses(self, batch: Batch) -> list[Tensor]:
        hidden = (~batch.visible)[:, None].float()
        pixels = hidden.repeat_interleave(self.patch_px, 2).repeat_interleave(self.patch_px, 3)
        features = self.model["proj"](self.model["encoder"](batch.values[self.image.name] * (1 - pixels)))
        patches = features * (1 - hidden) + self.token * hidden
        heads: nn.ModuleList = self.model["heads"]  # type: ignore[assignment]
        return [self._loss(*item, patches, batch, pixels) for item in zip(self.layers, heads, strict=True)]

    def _loss(self, layer: Layer, head: nn.Module, patches: Tensor, batch: Batch, pixels: Tensor) -> Tensor:
        decoded, target = self.model["decoder"](patches), batch.values[layer.name]
        if not layer.pixel:
            result = head(self.model["norm"](decoded).mean((2, 3)))
            if layer.classes:
                return functional.cross_entropy(result, target[:, 0])
            return functional.mse_loss(result, target)
        result = functional.pixel_shuffle(head(decoded), self.patch_px)
        if layer.classes:
            wanted = torch.where(pixels[:, 0] > 0, target[:, 0], IGNORED)
            return functional.cross_entropy(result, wanted, ignore_index=IGNORED)
        return ((result - target) ** 2 * pixels).sum() / (pixels.sum() * target.shape[1])


def _with_plain_norms(encoder: Encoder) -> None:
    """Put `PlainNorm` in the place of every `ChannelNorm`."""
    for part in list(encoder.modules()):
        for name, child in part.named_children():
            if isinstance(child, ChannelNorm):
                setattr(part, name, PlainNorm(len(child.weight)))
