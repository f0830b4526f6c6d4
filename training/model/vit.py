"""A vision transformer that encodes any subset of its channels: each channel is a source of tokens of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isqrt
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.architecture import InitStd
from training.model.encoder import initialise

_EPSILON = 1e-6
_TOKEN_STD = 0.02
VIT = "vit"  # The kind of these architectures in files of weights.


@dataclass(frozen=True)
class VitSize:
    """`depth` blocks of `heads` heads on tokens of `width`."""

    width: int
    depth: int
    heads: int


# Dosovitskiy et al. 2021, table 1, and Touvron et al. 2021, table 1. "zepto" is ours, small enough for a CPU.
VIT_SIZES: dict[str, VitSize] = {
    "zepto": VitSize(64, 2, 4),
    "small": VitSize(384, 12, 6),
    "base": VitSize(768, 12, 12),
}


@dataclass(frozen=True)
class VitArchitecture:
    """`channels` of the input, the size, the edge of a patch, and the edge of the images that have their own positions.

    `embedding_width` is that of the space which a tower shares with others.
    """

    channels: int
    size: VitSize
    patch_px: int
    image_px: int
    embedding_width: int = 512

    @property
    def side(self) -> int:
        """Patches along an edge of the image."""
        return self.image_px // self.patch_px

    @property
    def summary(self) -> str:
        """Size and patch in words."""
        name = next((name for name, size in VIT_SIZES.items() if size == self.size), "of another size")
        return f"a ViT tower, {name}, patch {self.patch_px} px"

    def to_dict(self) -> dict[str, Any]:
        """JSON values; `from_dict` gives the same architecture back."""
        return {"kind": VIT, **asdict(self)}

    @staticmethod
    def describes(data: Mapping[str, Any]) -> bool:
        """Whether `to_dict` of this class made `data`."""
        return data.get("kind") == VIT

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> VitArchitecture:
        """The architecture that `to_dict` described."""
        known = {name: value for name, value in data.items() if name != "kind"}
        return cls(**{**known, "size": VitSize(**data["size"])})


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017); absent tokens are not attended to."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor, attended: Tensor) -> Tensor:
        """`tokens` (rows, tokens, width); `attended` (rows, tokens) bool is True somewhere in every row."""
        parts = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        result = functional.scaled_dot_product_attention(query, key, value, attn_mask=attended[:, None, None])
        return self.proj(result.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """To four times the width and back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Same shape as `tokens`."""
        return self.fc2(functional.gelu(self.fc1(tokens)))


class VitBlock(nn.Module):
    """A block with norms before attention and MLP (pre-norm)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width, eps=_EPSILON), Attention(width, heads)
        self.norm2, self.mlp = nn.LayerNorm(width, eps=_EPSILON), Mlp(width)

    def forward(self, tokens: Tensor, attended: Tensor) -> Tensor:
        """Same shape as `tokens` (rows, tokens, width); `attended` as in `Attention`."""
        tokens = tokens + self.attn(self.norm1(tokens), attended)
        return tokens + self.mlp(self.norm2(tokens))


class PatchEmbed(nn.Module):
    """A kernel of `patch_px` per channel; timm's layer of this name has the same weights, and adds up the channels."""

    def __init__(self, channels: int, width: int, patch_px: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch_px, patch_px)
        self.patch_px = patch_px

    def forward(self, image: Tensor) -> Tensor:
        """(rows, channels, y, x) to (rows, channels, patches, width)."""
        size = self.patch_px
        patches = image.unflatten(3, (-1, size)).unflatten(2, (-1, size)).transpose(3, 4).flatten(4).flatten(2, 3)
        return torch.einsum("rcnp,wcp->rcnw", patches, self.proj.weight.flatten(2)) + cast(Tensor, self.proj.bias)


class VisionTransformer(nn.Module):
    """ViT (Dosovitskiy et al. 2021) over tokens of (channel, patch), which are pooled by their mean.

    A token is a patch of one channel through that channel's kernel, plus an embedding of the channel and one of the
    position (as in ChannelViT: Bao et al. 2024). Whatever channels are there, attention is among their tokens alone.
    Modules have the names of timm's `VisionTransformer` with `class_token=False, global_pool="avg"`; `channel_embed`
    is ours.
    """

    def __init__(self, architecture: VitArchitecture, init_std: InitStd = "fixed") -> None:
        super().__init__()
        self.architecture, size = architecture, architecture.size
        self.width, self.patch_px = size.width, architecture.patch_px
        self.patch_embed = PatchEmbed(architecture.channels, size.width, architecture.patch_px)
        self.pos_embed = nn.Parameter(torch.empty(1, architecture.side**2, size.width))
        self.channel_embed = nn.Parameter(torch.empty(1, architecture.channels, size.width))
        self.blocks = nn.ModuleList(VitBlock(size.width, size.heads) for _ in range(size.depth))
        self.fc_norm = nn.LayerNorm(size.width, eps=_EPSILON)
        self._initialise(init_std)

    def _initialise(self, init_std: InitStd) -> None:
        initialise(self, init_std)
        if init_std == "fan-in":  # A kernel sees one channel.
            nn.init.trunc_normal_(self.patch_embed.proj.weight, std=self.patch_px**-1.0)
        for tokens in (self.pos_embed, self.channel_embed):
            nn.init.trunc_normal_(tokens, std=_TOKEN_STD)

    def forward(self, image: Tensor, known: Tensor | None = None) -> Tensor:
        """Features (rows, width, y / patch_px, x / patch_px) of `image` (rows, channels, y, x): means over channels.

        `known` (rows, channels, y / patch_px, x / patch_px) bool is False for the patches of channels that are not
        there; None means all are. A patch without any channel has the feature of no token. Raises `ValueError` for an
        image whose edges are not multiples of the patch.
        """
        tokens, present = self._encoded(image, _all_known(image, self.patch_px) if known is None else known, None)
        down, across = (edge // self.patch_px for edge in image.shape[-2:])
        sites: Tensor = self.fc_norm(_mean(tokens, present, (1,)))
        return sites.transpose(1, 2).unflatten(2, (down, across))

    def pooled(self, image: Tensor, known: Tensor | None = None, chosen: Tensor | None = None) -> Tensor:
        """One feature per row, (rows, width): the mean over all tokens that are there, normalised.

        `chosen` (rows, some) int64 are the channels to encode; None means all. Others as in `forward`.
        """
        tokens, present = self._encoded(image, _all_known(image, self.patch_px) if known is None else known, chosen)
        result: Tensor = self.fc_norm(_mean(tokens, present, (1, 2)))
        return result

    def _encoded(self, image: Tensor, known: Tensor, chosen: Tensor | None) -> tuple[Tensor, Tensor]:
        """Tokens (rows, channels, patches, width) after the last block, and whether each is there."""
        self._refuse_odd(image)
        tokens, present = self._embedded(image), known.flatten(2)
        if chosen is not None:
            tokens = tokens.take_along_dim(chosen[:, :, None, None], 1)
            present = present.take_along_dim(chosen[:, :, None], 1)
        shape, sequence = tokens.shape[1:3], tokens.flatten(1, 2)
        # Softmax over nothing is no number; a row without tokens attends to all, and its pooled feature counts nowhere.
        attended = present.flatten(1)
        attended = attended | ~attended.any(1, keepdim=True)
        for block in self.blocks:
            sequence = block(sequence, attended)
        return sequence.unflatten(1, shape), present

    def _embedded(self, image: Tensor) -> Tensor:
        down, across = (edge // self.patch_px for edge in image.shape[-2:])
        tokens: Tensor = self.patch_embed(image)
        return tokens + self.channel_embed[:, :, None] + self._positions(down, across)[:, None]

    def _positions(self, down: int, across: int) -> Tensor:
        """Embeddings (1, patches, width) of positions; interpolated for images of another size than that trained on."""
        side = isqrt(self.pos_embed.shape[1])
        if (down, across) == (side, side):
            return self.pos_embed
        grid = self.pos_embed.transpose(1, 2).unflatten(2, (side, side))
        resized = functional.interpolate(grid, (down, across), mode="bicubic", antialias=True)
        return resized.flatten(2).transpose(1, 2)

    def refuse_unpadded(self, purpose: str) -> None:
        """Nothing: unlike some geometries of a ConvNeXt, every patch has its site."""

    def _refuse_odd(self, image: Tensor) -> None:
        if image.shape[-2] % self.patch_px or image.shape[-1] % self.patch_px:
            raise ValueError(f"image {tuple(image.shape[-2:])} is no multiple of the {self.patch_px} px patch")


def known_patches(valid: Tensor, patch_px: int) -> Tensor:
    """Which patches hold any valid value: (rows, channels, y, x) bool to (rows, channels, patches, patches) bool."""
    return valid.unflatten(3, (-1, patch_px)).unflatten(2, (-1, patch_px)).any(dim=5).any(dim=3)


def _all_known(image: Tensor, patch_px: int) -> Tensor:
    down, across = (edge // patch_px for edge in image.shape[-2:])
    return torch.ones((*image.shape[:2], down, across), dtype=torch.bool, device=image.device)


def _mean(tokens: Tensor, present: Tensor, over: tuple[int, ...]) -> Tensor:
    """The mean of the tokens (rows, channels, patches, width) that are there; 0 where there is none.

    In float32 at least: bfloat16 cannot count to a thousand.
    """
    exact = tokens if tokens.dtype == torch.float64 else tokens.float()
    weights = present[..., None].to(exact.dtype)
    return (exact * weights).sum(dim=over) / weights.sum(dim=over).clamp(min=1)
