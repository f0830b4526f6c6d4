"""How one encoder sees a batch of chips: a vector for each chip or patch, NaN where it has no data to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from training.batch import Batch
from training.layer import Layer
from training.model.conv_tower import ConvTower
from training.model.encoder import Encoder
from training.model.image import image_of
from training.model.normalisation import Normalisation
from training.model.tower import Tower
from training.model.vit import known_patches
from training.weights.pretrained import Pretrained


@dataclass(frozen=True)
class EncoderView:
    """An encoder, and the layers that it looks at. `name` is that of its layer, or of several, joined by "+"."""

    encoder: Encoder | Tower
    normalisation: Normalisation

    @classmethod
    def of(cls, pretrained: Pretrained) -> EncoderView:
        """The view by these weights; where a response was normalised over a batch, it is over each chip alone."""
        return cls(_of_each_alone(pretrained.encoder).eval(), pretrained.normalisation)

    @property
    def name(self) -> str:
        """The names of the layers."""
        return "+".join(layer.name for layer in self.normalisation.layers)

    @property
    def chip_width(self) -> int:
        """Numbers for a chip: of a tower those of the space that it shares with others."""
        encoder = self.encoder
        return encoder.projection.out_features if isinstance(encoder, Tower | ConvTower) else encoder.width

    def chip_px(self, size_px: int) -> int:
        """The edge of the centre to look at, of chips of `size_px`: whole patches; what a tower was trained on."""
        whole = self.patches_px(size_px)
        return min(self.encoder.architecture.image_px, whole) if isinstance(self.encoder, Tower) else whole

    def patches_px(self, size_px: int) -> int:
        """The edge of all whole patches of chips of `size_px`."""
        return size_px // self.encoder.patch_px * self.encoder.patch_px

    def of_chips(self, layers: Sequence[Layer], batch: Batch, kept: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Vectors (rows, chip_width) float32: of length 1 from a tower, else the mean over the sites of the last stage.

        `layers` are those of the encoder in a corpus, `kept` (bands,) bool by layer, on the CPU, the bands in use.
        Beside them the share of the values of these bands that are data, (rows,) float32.
        """
        image, known, share = self._seen(layers, batch, kept)
        if isinstance(self.encoder, Tower | ConvTower):
            vectors = self.encoder.embedding(image, known)
        else:
            vectors = self.encoder(image).mean(dim=(2, 3))
        return _where(known.flatten(1).any(dim=1), vectors), share

    def of_patches(self, layers: Sequence[Layer], batch: Batch, kept: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Features (rows, encoder.width, y / patch, x / patch) float32, as the encoder gives them; see `of_chips`."""
        image, known, share = self._seen(layers, batch, kept)
        features = self.encoder(image, known) if isinstance(self.encoder, Tower) else self.encoder(image)
        return _where(known.any(dim=1), features), share

    def _seen(self, layers: Sequence[Layer], batch: Batch, kept: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """The image (rows, channels, y, x), which patches of its channels have data, and the share of valid values."""
        seen = _without(batch, [item.name for item in layers], kept)
        channels = [_per_channel(item, seen.valid[item.name]) for item in layers]
        known = known_patches(channels[0] if len(channels) == 1 else torch.cat(channels, dim=1), self.encoder.patch_px)
        return image_of(layers, seen.values, seen.valid), known, _share(seen.valid, kept)


def _without(batch: Batch, names: Sequence[str], kept: Mapping[str, Tensor]) -> Batch:
    """The layers called `names`, as if the bands that are not kept had no data."""
    if all(bool(kept[name].all()) for name in names):
        return batch
    on = {name: kept[name].to(batch.valid[name].device)[None, :, None, None] for name in names}
    valid = {name: batch.valid[name] & on[name] for name in names}
    values = {name: batch.values[name].where(on[name], 0) for name in names}
    return Batch(values, valid, batch.visible, batch.rows)


def _per_channel(layer: Layer, valid: Tensor) -> Tensor:
    return valid.repeat_interleave(layer.classes, dim=1) if layer.classes else valid


def _share(valid: Mapping[str, Tensor], kept: Mapping[str, Tensor]) -> Tensor:
    """How much of the values of the bands that are kept is valid, (rows,) float32; 0 where none is kept."""
    parts = [item.contiguous().view(torch.uint8).flatten(1).sum(dim=1, dtype=torch.int32) for item in valid.values()]
    pixels = next(iter(valid.values()))[0, 0].numel()
    count = sum(int(kept[name].sum()) for name in valid) * pixels
    return torch.stack(parts).sum(dim=0).float() / max(1, count)


def _where(known: Tensor, vectors: Tensor) -> Tensor:
    """Vectors (rows, width[, y, x]) where `known` (rows[, y, x]), NaN elsewhere."""
    return vectors.float().masked_fill(~known.unsqueeze(1), torch.nan)


def _of_each_alone(encoder: Encoder | Tower) -> Encoder | Tower:
    """An encoder whose features of a chip do not depend on the others of its batch, with the same weights."""
    if isinstance(encoder, Tower) or encoder.architecture.grn_scope == "image":
        return encoder
    shape = replace(encoder.architecture, grn_scope="image")
    with torch.device("meta"):
        result = (
            ConvTower(shape, encoder.projection.out_features) if isinstance(encoder, ConvTower) else Encoder.of(shape)
        )
    result.load_state_dict(encoder.state_dict(keep_vars=True), assign=True)
    return result
