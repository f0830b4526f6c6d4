"""Images whose edges are no multiple of the patch: padded, resized or cropped, and answers brought back to their size.

The published code (MMEarth-train) does none of these by name: its strided convolutions drop what does not fill a patch,
which is `crop`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.errors import Fatal
from training.evaluate.recipe import Fit

_WORDS = {"pad": "padded without data to", "resize": "resized to", "crop": "cropped to"}


def fitted(image: Tensor, patch_px: int, fit: Fit) -> Tensor:
    """Normalised images (rows, channels, y, x) with edges that are multiples of the patch; others are left as they are.

    What is added by "pad", below and on the right, is 0: the mean, as where there is no data. Raises `Fatal` for images
    smaller than a patch that are to be cropped.
    """
    height, width = fitted_size(tuple(image.shape[-2:]), patch_px, fit)
    have = image.shape[-2:]
    if (height, width) == tuple(have):
        return image
    if fit == "pad":
        return functional.pad(image, (0, width - have[1], 0, height - have[0]))
    if fit == "crop":
        return image[..., :height, :width]
    return functional.interpolate(image, (height, width), mode="bilinear", align_corners=False)


def unfitted(outputs: Tensor, size: tuple[int, int], fit: Fit) -> Tensor:
    """Outputs (rows, channels, y, x) for fitted images, brought to the `size` (y, x) of the labels.

    Where images were cropped, what was dropped gets the answers of the nearest pixel.
    """
    if tuple(outputs.shape[-2:]) == size:
        return outputs
    if fit == "resize":
        return functional.interpolate(outputs, size, mode="bilinear", align_corners=False)
    inside = outputs[..., : size[0], : size[1]]
    rows, columns = (torch.arange(full, device=outputs.device).clamp(max=part - 1)
                     for full, part in zip(size, inside.shape[-2:], strict=True))  # fmt: skip
    return inside[..., rows[:, None], columns]


def fitted_size(size: tuple[int, ...], patch_px: int, fit: Fit) -> tuple[int, int]:
    """The size (y, x) of images of `size` after `fitted`."""
    if fit == "crop" and min(size) < patch_px:
        raise Fatal(f"images of {size[0]} x {size[1]} px are smaller than the {patch_px} px patch; pad or resize them.")
    height, width = (edge // patch_px * patch_px if fit == "crop" else -(-edge // patch_px) * patch_px for edge in size)
    return height, width


def fit_sentence(size: tuple[int, int], patch_px: int, fit: Fit) -> str:
    """What becomes of images of this size (y, x), for a log; empty where nothing does."""
    height, width = fitted_size(size, patch_px, fit)
    if (height, width) == size:
        return ""
    return f"images of {size[0]} x {size[1]} px are {_WORDS[fit]} {height} x {width} px, whole patches of {patch_px} px"
