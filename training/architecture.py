"""The architecture of an encoder, complete enough to rebuild it around stored weights, and the published sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Stem = Literal["modified", "original"]
GrnScope = Literal["image", "batch"]
InitStd = Literal["fixed", "fan-in"]
Geometry = Literal["sparse", "published-classifier", "published-unet"]

STAGES = 4
_STORED_AS = {"grn_scope": "response"}  # The name in files of weights.


@dataclass(frozen=True)
class Size:
    """Blocks and channels per stage."""

    depths: tuple[int, int, int, int]
    widths: tuple[int, int, int, int]


# Woo et al. 2023, "ConvNeXt V2", table 9. "zepto" is ours, small enough for a demonstration on a laptop.
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
    """`channels` of the input, depths and widths of the stages, and the edge of a patch in pixels.

    There is one output site per patch. `stem` "modified" is MP-MAE's, which keeps full resolution in a first
    convolution; "original" is the single convolution of ConvNeXt V2. `grn_scope` says over which sites global response
    normalisation takes its norm, see `encoder.ResponseNorm`.

    `geometry` "sparse" is that of pretraining, there and here. The published dense code computes something else with
    the same weights: "published-classifier" does not pad the first convolution of the modified stem and has an epsilon
    of 1e-4 in response normalisation, "published-unet" pads and has that epsilon. Source: `models/convnextv2.py`,
    `convnextv2_unet.py` and `norm_layers.py` of vishalned/MMEarth-train.
    """

    channels: int
    size: Size
    patch_px: int
    stem: Stem = "modified"
    grn_scope: GrnScope = "image"
    geometry: Geometry = "sparse"

    @property
    def padded(self) -> bool:
        """Whether there is a site for each patch, where it is; otherwise borders are cut off, and sites are fewer."""
        return self.stem == "original" or self.geometry != "published-classifier"

    @property
    def grn_epsilon(self) -> float:
        """What response normalisation adds to the mean of the norms."""
        return 1e-6 if self.geometry == "sparse" else 1e-4

    @property
    def stem_stride(self) -> int:
        """Pixels per site of the first stage; the three stages after it halve the resolution once each."""
        return self.patch_px // 2 ** (STAGES - 1)

    @property
    def size_name(self) -> str | None:
        """The name of this size in `SIZES`; None where it has none."""
        return next((name for name, size in SIZES.items() if size == self.size), None)

    @property
    def summary(self) -> str:
        """Size, stem and patch in words."""
        return f"{self.size_name or 'an encoder'}, {self.stem} stem, patch {self.patch_px} px"

    def to_dict(self) -> dict[str, Any]:
        """JSON values; `from_dict` gives the same architecture back."""
        data = {_STORED_AS.get(name, name): value for name, value in asdict(self).items()}
        if self.geometry == "sparse":
            del data["geometry"]  # Earlier releases read files without it.
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Architecture:
        """The architecture that `to_dict` described."""
        size = Size(tuple(data["size"]["depths"]), tuple(data["size"]["widths"]))
        names = {stored: name for name, stored in _STORED_AS.items()}
        return cls(**{names.get(stored, stored): value for stored, value in data.items()} | {"size": size})
