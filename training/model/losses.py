"""The losses of MP-MAE: means over what is both hidden and data, and their weighted sum; never NaN for nothing."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.layer import IGNORED

_EPSILON = 1e-6


def squared_error(
    prediction: Tensor, target: Tensor, counted: Tensor, count: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Mean squared error over the True places of `counted`, and whether there are any; all of one shape.

    Exactly 0, with a gradient of 0, where nothing counts. The mean is over places, not over patches: a patch with
    much nodata weighs less. With `count`, the True places of a whole batch of which this is a part, it is this part's
    share of the whole batch's mean: the shares add up to it.
    """
    # Chosen before squaring: the gradient of a square that is not finite would be NaN even where it is left out.
    return _mean(torch.where(counted, _exact(prediction) - target, 0) ** 2, counted, count)


def class_error(logits: Tensor, target: Tensor, counted: Tensor, count: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy of `logits` (batch, classes, ...) over the True places of `counted` (batch, ...).

    `target` holds class indices; what it is elsewhere does not matter. Exactly 0 where nothing counts. `count` as in
    `squared_error`.
    """
    # One row per place: the two-dimensional kernel adds up in no fixed order on a GPU.
    rows = _exact(logits).movedim(1, -1).reshape(-1, logits.shape[1])
    wanted = torch.where(counted, target, IGNORED).reshape(-1)
    errors = functional.cross_entropy(rows, wanted, ignore_index=IGNORED, reduction="none")
    return _mean(errors, counted, count)


def normalise_patches(target: Tensor, valid: Tensor, patch_px: int) -> Tensor:
    """`target` (batch, bands, y, x) with mean 0 and variance 1 over the valid values of each patch, all bands together.

    He et al. 2022 ("normalised pixels"); MP-MAE does so for its optical layer. Values that are not valid come out
    arbitrary but finite.
    """
    _, centred, std = _patch_moments(target, valid, patch_px)
    return (centred / std).reshape(target.shape)


def patch_moments(target: Tensor, valid: Tensor, patch_px: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (batch, 1, y, x) by which `normalise_patches` normalises each pixel's patch."""
    mean, _, std = _patch_moments(target, valid, patch_px)
    every = (len(target), 1, *target.shape[2:])
    spread = (-1, -1, -1, patch_px, -1, patch_px)
    return mean.expand(spread).reshape(every), std.expand(spread).reshape(every)


def _patch_moments(target: Tensor, valid: Tensor, patch_px: int) -> tuple[Tensor, Tensor, Tensor]:
    """Means, what is left without them, and deviations, of the valid values of each patch, laid out as `_patches`."""
    patches, known = _patches(target, patch_px), _patches(valid, patch_px)
    count = known.sum(dim=(1, 3, 5), keepdim=True).clamp(min=1)
    mean = torch.where(known, patches, 0).sum(dim=(1, 3, 5), keepdim=True) / count
    centred = torch.where(known, patches - mean, 0)
    variance = (centred**2).sum(dim=(1, 3, 5), keepdim=True) / count
    return mean, centred, (variance + _EPSILON).sqrt()


def weigh(losses: Tensor, active: Tensor, log_variances: Tensor | None, share: float = 1.0) -> Tensor:
    """The sum over the active targets: of exp(-s) L + s with s from `log_variances`, or plainly of L without it.

    Kendall et al. 2018 as MP-MAE uses it: no factor of a half, the same for classes and numbers. A target with
    nothing to predict in a batch adds neither its loss nor its s. All arguments have shape (targets,). `share` is what
    part of a whole batch this is; the losses are then shares too, and the sums over the parts are the whole's.
    """
    weighted = losses if log_variances is None else torch.exp(-log_variances) * losses + share * log_variances
    return torch.where(active, weighted, 0).sum()


def _mean(errors: Tensor, counted: Tensor, count: Tensor | None) -> tuple[Tensor, Tensor]:
    count = counted.sum() if count is None else count
    return errors.sum() / count.clamp(min=1), count > 0


def _patches(maps: Tensor, patch_px: int) -> Tensor:
    """(batch, bands, y, x) as (batch, bands, y patches, patch_px, x patches, patch_px)."""
    batch, bands, height, width = maps.shape
    return maps.reshape(batch, bands, height // patch_px, patch_px, width // patch_px, patch_px)


def _exact(prediction: Tensor) -> Tensor:
    """At least float32: sums of many squares do not fit bfloat16."""
    return prediction if prediction.dtype == torch.float64 else prediction.float()
