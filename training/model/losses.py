"""The losses of MP-MAE: means over hidden, valid values and their weighted sum; 0, not NaN, where there are none."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.layer import IGNORED

_EPSILON = 1e-6


def squared_error(
    prediction: Tensor, target: Tensor, counted: Tensor, count: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Mean squared error where `counted` (bool) is True, and whether it is True anywhere; all tensors of one shape.

    Exactly 0, with a gradient of 0, where nothing is counted. The mean is over values, not over patches: a patch with
    much nodata weighs less. For a part of a batch, `count` is the number of counted values in the whole batch; the
    results of the parts then add up to the mean of the whole batch.
    """
    # Selected before squaring: the gradient of a non-finite square would be NaN even where it is not selected.
    return _mean(torch.where(counted, _exact(prediction) - target, 0) ** 2, counted, count)


def class_error(logits: Tensor, target: Tensor, counted: Tensor, count: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy of `logits` (batch, classes, ...) where `counted` (batch, ...) bool is True.

    `target` (batch, ...) has class indices, int64; its other values are ignored. Exactly 0 where nothing is counted.
    Returns the loss and whether anything is counted. `count` as in `squared_error`.
    """
    # One row per value: the two-dimensional kernel sums in no fixed order on a GPU.
    rows = _exact(logits).movedim(1, -1).reshape(-1, logits.shape[1])
    wanted = torch.where(counted, target, IGNORED).reshape(-1)
    errors = functional.cross_entropy(rows, wanted, ignore_index=IGNORED, reduction="none")
    return _mean(errors, counted, count)


def normalise_patches(target: Tensor, valid: Tensor, patch_px: int) -> Tensor:
    """`target` (batch, bands, y, x) with mean 0 and variance 1 over the valid values of each patch, all bands together.

    From He et al. 2022 ("normalised pixels"); MP-MAE uses it for its optical layer. Invalid values become arbitrary
    finite numbers.
    """
    _, centred, std = _patch_moments(target, valid, patch_px)
    return (centred / std).reshape(target.shape)


def patch_moments(target: Tensor, valid: Tensor, patch_px: int) -> tuple[Tensor, Tensor]:
    """Per pixel, mean and standard deviation (batch, 1, y, x) by which `normalise_patches` normalises its patch."""
    mean, _, std = _patch_moments(target, valid, patch_px)
    image_shape = (len(target), 1, *target.shape[2:])
    patch_shape = (-1, -1, -1, patch_px, -1, patch_px)
    return mean.expand(patch_shape).reshape(image_shape), std.expand(patch_shape).reshape(image_shape)


def _patch_moments(target: Tensor, valid: Tensor, patch_px: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, centred values and standard deviation of the valid values of each patch, in the shape of `_patches`."""
    patches, known = _patches(target, patch_px), _patches(valid, patch_px)
    count = known.sum(dim=(1, 3, 5), keepdim=True).clamp(min=1)
    mean = torch.where(known, patches, 0).sum(dim=(1, 3, 5), keepdim=True) / count
    centred = torch.where(known, patches - mean, 0)
    variance = (centred**2).sum(dim=(1, 3, 5), keepdim=True) / count
    return mean, centred, (variance + _EPSILON).sqrt()


def weigh(losses: Tensor, active: Tensor, log_variances: Tensor | None, fraction: float = 1.0) -> Tensor:
    """The sum of exp(-s) L + s over the active targets with s from `log_variances`, or the sum of L without it; scalar.

    From Kendall et al. 2018 as MP-MAE uses it: without the factor 1/2, and the same for classes and numbers. A target
    that is not active adds neither its loss nor its s. All tensors are (targets,), `active` is bool. For a part of a
    batch, `fraction` is the part of its chips, and `losses` are those of the part; the results of the parts then add up
    to that of the whole batch.
    """
    weighted = losses if log_variances is None else torch.exp(-log_variances) * losses + fraction * log_variances
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
