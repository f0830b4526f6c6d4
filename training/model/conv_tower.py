"""MP-MAE's encoder as that of one sensor: a ConvNeXt V2, and a projection into the space that the sensors share."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.architecture import Architecture, InitStd
from training.model.encoder import Encoder, enlarge, initialise

BEYOND = ("fc_norm.", "projection.")  # The parameters that are not the encoder's.


class ConvTower(Encoder):
    """An `Encoder` with a norm and a linear `projection` of its feature, pooled over the patches that are known.

    It is told by planes behind the channels which of these are there (`Layer.presence` "bands"), as one that is not
    shows its mean; a patch of which no channel is known is hidden, as in MP-MAE.
    """

    def __init__(self, architecture: Architecture, embedding_width: int, init_std: InitStd = "fixed") -> None:
        item = architecture
        super().__init__(
            item.channels, item.size, item.patch_px, item.stem, item.grn_scope, geometry=item.geometry
        )  # fmt: skip
        self.fc_norm = nn.LayerNorm(self.width, eps=1e-6)
        self.projection = nn.Linear(self.width, embedding_width, bias=False)
        initialise(self, init_std)
        nn.init.normal_(self.projection.weight, std=self.width**-0.5)

    def embedding(self, image: Tensor, known: Tensor | None = None, chosen: Tensor | None = None) -> Tensor:
        """Vectors of length 1, (rows, embedding_width), of `image` (rows, channels and planes, y, x).

        `known` (rows, channels, y / patch_px, x / patch_px) bool is False for the patches of channels that are not
        there, which the image shows as 0 then, and its planes as missing; None means all are as the image says.
        `chosen` is not needed, as what was not drawn is not known. Rows without any patch get a vector that says
        nothing.
        """
        shown = image if known is None else _shown(image, known, self.patch_px)
        projected: Tensor = self.projection(self.fc_norm(self._pooled(shown, None if known is None else known.any(1))))
        return functional.normalize(projected if projected.dtype == torch.float64 else projected.float(), dim=-1)

    def _pooled(self, image: Tensor, visible: Tensor | None) -> Tensor:
        """The mean over the visible patches (rows, width), in float32 at least; hidden ones have features of 0."""
        features = self(image, visible)
        exact = features if features.dtype == torch.float64 else features.float()
        if visible is None:
            return exact.mean(dim=(2, 3))
        return exact.sum(dim=(2, 3)) / visible.flatten(1).sum(dim=1).clamp(min=1)[:, None]

    def alone(self) -> Encoder:
        """The encoder without what makes it a tower; it has the same weights in the same memory."""
        with torch.device("meta"):
            result = Encoder.of(self.architecture)
        state = self.state_dict(keep_vars=True)
        result.load_state_dict({name: state[name] for name in result.state_dict()}, assign=True)
        return result.train(self.training)


def _shown(image: Tensor, known: Tensor, patch_px: int) -> Tensor:
    """The image without the patches that are not known, its planes saying which channels have any left."""
    channels = known.shape[1]
    inside = enlarge(known.flatten(0, 1), patch_px).view(len(image), channels, *image.shape[2:])
    values = torch.where(inside, image[:, :channels], 0)
    planes = image.shape[1] - channels
    if not planes:
        return values
    there = known.flatten(2).any(dim=2).unflatten(1, (planes, -1)).any(dim=2)
    told = cast(Tensor, there[:, :, None, None].to(image.dtype)).expand(-1, -1, *image.shape[2:])
    return torch.cat([values, told], dim=1).contiguous(memory_format=torch.channels_last)
