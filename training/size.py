"""How large an encoder is: the published ConvNeXt V2 family and one for demonstrations."""

from __future__ import annotations

from dataclasses import dataclass


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
