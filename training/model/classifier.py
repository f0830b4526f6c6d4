"""One class per image: the mean of the encoder's features, a norm and a linear layer, as in ConvNeXt."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from training.model.encoder import Encoder

# So small that the initial predictions are nearly equal, as in the published fine-tuning.
_HEAD_STD = 2e-5


class Classifier(nn.Module):
    """`encoder` with a new head; modules are named as in ConvNeXt V2's own classifier."""

    def __init__(self, encoder: Encoder, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.norm = nn.LayerNorm(encoder.width, eps=1e-6)
        self.head = nn.Linear(encoder.width, classes)
        nn.init.trunc_normal_(self.head.weight, std=_HEAD_STD)
        nn.init.zeros_(self.head.bias)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (batch, classes) of images (batch, channels, y, x), both floating point."""
        return cast(Tensor, self.head(self.norm(self.encoder(image).mean(dim=(2, 3)))))
