"""The encoder of one sensor: a vision transformer, and a projection into the space that the sensors share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.architecture import InitStd
from training.model.draws import uniform
from training.model.vit import VisionTransformer, VitArchitecture


class Tower(VisionTransformer):
    """A `VisionTransformer` with a linear `projection` of its pooled feature, as in CLIP (Radford et al. 2021)."""

    def __init__(self, architecture: VitArchitecture, init_std: InitStd = "fixed") -> None:
        super().__init__(architecture, init_std)
        self.projection = nn.Linear(self.width, architecture.embedding_width, bias=False)
        nn.init.normal_(self.projection.weight, std=self.width**-0.5)

    def embedding(self, image: Tensor, known: Tensor | None = None, chosen: Tensor | None = None) -> Tensor:
        """Vectors of length 1, (rows, embedding_width), of `image` (rows, channels, y, x).

        `known` and `chosen` as in `VisionTransformer.pooled`. Rows without any token get a vector as well, which says
        nothing: whether a sensor is there is for the caller to know.
        """
        projected: Tensor = self.projection(self.pooled(image, known, chosen))
        return functional.normalize(projected if projected.dtype == torch.float64 else projected.float(), dim=-1)


def drawn_channels(known: Tensor, keys: Tensor, purpose: int, most: int) -> tuple[Tensor, Tensor]:
    """Channels drawn at random for every row: `chosen` (rows, most) int64, and `known` without what was not drawn.

    A row gets between 1 and `most` of the channels that are there, each number as likely, or as many as it has.
    `known` (rows, channels, y, x) bool are the patches that are there, `keys` (rows,) int64 fix the draw.
    """
    channels = known.shape[1]
    there = known.flatten(2).any(dim=2)
    numbers = uniform(keys, purpose, channels + 1)
    order = torch.where(there, numbers[:, 1:], 2.0).argsort(dim=1)[:, :most]
    taken = torch.arange(most, device=known.device) < 1 + (numbers[:, :1] * most).long()
    drawn = torch.zeros_like(there).scatter(1, order, taken)
    return order, known & drawn[:, :, None, None]
