"""MP-MAE: a masked encoder, a light decoder, and one head per modality that follows from its specification."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.batch import Batch
from training.config import PretrainConfig
from training.layer import Layer
from training.method import CardText, Method
from training.methods.pictures import Pictures
from training.model import losses
from training.model.encoder import Block, ChannelNorm, Encoder, enlarge, initialise
from training.model.image import image_of
from training.model.visible import encode_visible, hidden_tiles, tiles_of
from training.pretext import AdditivePretext, Objective, encoder_of
from training.sample import Sample
from training.words import listed


class PixelHead(nn.Module):
    """Predicts `channels` maps at full resolution from one vector per patch."""

    def __init__(self, width: int, channels: int, patch_px: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(width, channels * patch_px**2, 1)
        self.patch_px = patch_px

    def forward(self, decoded: Tensor) -> Tensor:
        """(batch, width, y, x) to (batch, channels, y * patch_px, x * patch_px)."""
        # As a matrix product: a convolution over single patches took six times as long.
        # Channels last, as the weights are on any device: a gradient with other strides would be copied at every step.
        weight = self.expand.weight.permute(0, 2, 3, 1).flatten(1)
        rows = functional.linear(decoded.permute(0, 2, 3, 1), weight, self.expand.bias)
        return functional.pixel_shuffle(rows.permute(0, 3, 1, 2), self.patch_px)


class MPMAE(AdditivePretext):
    """Multi-pretext masked autoencoder (Nedungadi et al. 2024), see docs/training.md.

    With `decoder="shared"`, all targets share one decoder, as in the published checkpoints; with "per-task", each
    target has its own, as the paper describes.
    """

    encoder: Encoder

    def __init__(self, inputs: Sequence[Layer], targets: Sequence[Layer], config: PretrainConfig) -> None:
        super().__init__()
        self.inputs, self.targets, self.patch_px = tuple(inputs), tuple(targets), config.patch_px
        self._visible_patches = config.visible_patches if config.skip_hidden else 0
        width = config.decoder_width
        self.encoder = encoder_of(inputs, config)
        self.proj = nn.Conv2d(self.encoder.width, width, 1)
        self.mask_token = nn.Parameter(torch.zeros(1, width, 1, 1))
        decoders = 1 if config.decoder == "shared" else len(targets)
        self.decoders = nn.ModuleList(
            nn.Sequential(*(Block(width) for _ in range(config.decoder_depth))) for _ in range(decoders)
        )
        self.image_norm = ChannelNorm(width)
        self.heads = nn.ModuleList(
            PixelHead(width, layer.channels, config.patch_px) if layer.pixel else nn.Linear(width, layer.channels)
            for layer in targets
        )
        self.log_variances = nn.Parameter(torch.zeros(len(targets))) if config.weighting == "uncertainty" else None
        self.loss_names = tuple(layer.name for layer in targets)
        if self.log_variances is not None:
            self.figure_names = tuple(f"log_variance/{name}" for name in self.loss_names)
        self.leaves_unused = all(layer.pixel for layer in targets)  # The norm of image-level heads.
        initialise(self, config.init_std)
        nn.init.normal_(self.mask_token, std=0.02)

    def figures(self) -> Tensor:
        """The log variances (targets,), none with `weighting="sum"`."""
        return super().figures() if self.log_variances is None else self.log_variances

    def forward(self, batch: Batch) -> list[Tensor]:
        """A prediction per target: (batch, channels, y, x), or (batch, channels) at image level, floating point."""
        decoded = self._decoded(batch)
        return self._predictions(decoded, decoded)

    def _decoded(self, batch: Batch) -> list[Tensor]:
        """The output of each decoder, (batch, width, patches, patches)."""
        features = self.proj(self._encoded(self.image(batch), batch.visible))
        patches = torch.where(batch.visible[:, None], features, self.mask_token.to(features.dtype))
        return [decoder(patches) for decoder in self.decoders]

    def _predictions(self, decoded_images: list[Tensor], patches: list[Tensor]) -> list[Tensor]:
        """The outputs of the heads; image-level heads take `decoded_images`, pixel heads `patches` (all or hidden)."""
        result = []
        for index, (layer, head) in enumerate(zip(self.targets, self.heads, strict=True)):
            decoder = index if len(decoded_images) > 1 else 0
            result.append(
                head(patches[decoder] if layer.pixel else self.image_norm(decoded_images[decoder]).mean(dim=(2, 3)))
            )
        return result

    def _masked_targets(self, batch: Batch) -> tuple[list[Tensor], Batch]:
        """Predictions and the batch to compare them with; with `skip_hidden`, pixel layers have hidden patches only."""
        decoded = self._decoded(batch)
        if not self._visible_patches:
            return self._predictions(decoded, decoded), batch
        names = [layer.name for layer in self.targets if layer.pixel]
        tiles, hidden = hidden_tiles(batch, names, self._visible_patches)
        return self._predictions(decoded, [tiles_of(maps, hidden, 1) for maps in decoded]), tiles

    def _encoded(self, image: Tensor, visible: Tensor) -> Tensor:
        if self._visible_patches:
            return encode_visible(self.encoder, image, visible, self._visible_patches)
        features: Tensor = self.encoder(image, visible)
        return features

    def image(self, batch: Batch) -> Tensor:
        """The encoder's input (batch, channels, y, x) float32: numbers unchanged, classes one-hot, nodata 0."""
        return image_of(self.inputs, batch.values, batch.valid)

    def objective(self, batch: Batch, counts: Tensor | None = None, fraction: float = 1.0) -> Objective:
        """The loss of every target on values hidden from the encoder, and their weighted sum.

        For a part of a batch, give the `counts` (targets,) of the whole batch and the `fraction` of its chips in this
        part: the objectives of the parts, and their gradients, then add up to those of the whole batch.
        """
        wanted = self.counts(batch) if counts is None else counts
        predictions, masked = self._masked_targets(batch)
        parts = [self._loss(*item, masked) for item in zip(self.targets, predictions, wanted, strict=True)]
        values = torch.stack([loss for loss, _ in parts])
        active = torch.stack([is_active for _, is_active in parts])
        return Objective(losses.weigh(values, active, self.log_variances, fraction), values, active)

    def counts(self, batch: Batch) -> Tensor:
        """The number of values over which the loss of each target is a mean, (targets,) int64."""
        return torch.stack([self._counted(layer, batch).sum() for layer in self.targets])

    def _counted(self, layer: Layer, batch: Batch) -> Tensor:
        """True for valid values that were hidden from the encoder; at image level, for all valid values."""
        valid = batch.valid[layer.name]
        return valid & enlarge(~batch.visible, self.patch_px) if layer.pixel else valid

    def _loss(self, layer: Layer, prediction: Tensor, count: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        target, valid, counted = batch.values[layer.name], batch.valid[layer.name], self._counted(layer, batch)
        if layer.modality.patch_normalised and layer.pixel and not layer.classes:
            target = losses.normalise_patches(target, valid, self.patch_px)
        if layer.classes:
            return losses.class_error(prediction.unflatten(1, (layer.classes, -1)), target, counted, count)
        return losses.squared_error(prediction, target, counted, count)


def _pictures(
    sample: Sample, inputs: Sequence[Layer], targets: Sequence[Layer], config: PretrainConfig, folder: Path
) -> Pictures:
    return Pictures(sample, inputs, targets, config.patch_px, folder)


def _card(config: PretrainConfig) -> CardText:
    return CardText(
        f"as a multi-pretext masked autoencoder (Nedungadi et al. 2024): it saw {listed(config.inputs)} with "
        f"{config.mask_ratio:.0%} of the patches hidden and learned to predict {listed(config.targets)}",
        "on hidden patches of train chips, unweighted, means over the first and last steps: of squared errors in "
        "standard deviations (1: no better than the mean), or cross-entropies in nats",
        ("mask_ratio", "decoder", "decoder_width", "decoder_depth", "weighting", "presence"),
    )


def _losses_mean(config: PretrainConfig) -> str:
    return "1 is no better than the mean for numbers; for classes it is nats, and 0 is certain and right."


METHOD = Method(
    MPMAE,
    pictures=_pictures,
    card=_card,
    presence=True,
    losses_mean=_losses_mean,
)
