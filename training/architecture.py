"""What decides the shape of an encoder, enough to build it again around stored weights, and the published sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Stem = Literal["modified", "original"]
GrnScope = Literal["image", "batch"]
InitStd = Literal["fixed", "fan-in"]

STAGES = 4
_STORED_AS = {"grn_scope": "response"}  # What files of weights have always called it.


@dataclass(frozen=True)
class Size:
    """Blocks and channels per stage."""

    depths: tuple[int, int, int, int]
    widths: tuple[int, int, int, int]


# Woo et al. 2023, "ConvNeXt V2", table 9, and one small enough for a demonstration on a laptop.
SIZES: dict[str, Size] = {
    "zepto": Size((1, 1, 2, 1), (16, 32, 64, 128)),
    "atto": Size((2, 2, 6, 2), (40, 80, 160, 320)),
    "femto": Size((2, 2, 6, 2), (48, 96, 192, 384)),
    "pico": Size((2, 2, 6, 2), (64, 128, 256, 512)),
    "nano": Size((2, 2, 8, 2), (80, 160, 320, 640)),
    "tiny": Size((3, 3, 9, 3), (96, 192, 384, 768)),
    "base": Size((3, 3, 27, 3), (128, 256, 512, 1024)),
    "large": Size((3, 3, 27, 3), (192, 384, 768, 1536)),
    "huge": Size((3, 3, 27, 3), (352, 704, 1408, 2816)),
}


@dataclass(frozen=True)
class Architecture:
    """`channels` of the input, the depths and widths, and the edge of a patch: one output site per patch.

    `stem` "modified" is MP-MAE's, which keeps full resolution in a first convolution; "original" is ConvNeXt V2's one
    convolution. `grn_scope` says over what a response is normalised, see `encoder.ResponseNorm`.
    """

    channels: int
    size: Size
    patch_px: int
    stem: Stem = "modified"
    grn_scope: GrnScope = "image"

    @property
    def stem_stride(self) -> int:
        """Pixels per site of the first stage; three halvings between the stages do the rest of a patch."""
        return self.patch_px // 2 ** (STAGES - 1)

    @property
    def size_name(self) -> str | None:
        """The name of its size in `SIZES`, if it has one."""
        return next((name for name, size in SIZES.items() if size == self.size), None)

    def to_dict(self) -> dict[str, Any]:
        """JSON values; `from_dict` gives the same architecture back."""
        return {_STORED_AS.get(name, name): value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Architecture:
        """The architecture that `to_dict` described."""
        size = Size(tuple(plain["size"]["depths"]), tuple(plain["size"]["widths"]))
        names = {stored: name for name, stored in _STORED_AS.items()}
        return cls(**{names.get(stored, stored): value for stored, value in plain.items()} | {"size": size})
