"""Symmetric InfoNCE over the pairs of sensors that a sample has; what is absent is neither positive nor negative."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor


@dataclass(frozen=True)
class Contrast:
    """`total` (scalar) is minimised; `pairs` are its unweighted terms, (pairs,), means over the `counts` of samples."""

    total: Tensor
    pairs: Tensor
    counts: Tensor


def sensor_pairs(sensors: int) -> list[tuple[int, int]]:
    """The pairs of sensors, in the order of the terms of a loss."""
    return list(combinations(range(sensors), 2))


def contrast(embeddings: Tensor, present: Tensor, scale: Tensor) -> Contrast:
    """The loss of unit `embeddings` (rows, sensors, width), of which `present` (rows, sensors) bool says what is there.

    InfoNCE of a pair of sensors (van den Oord et al. 2018, symmetric as in Radford et al. 2021): each of the two views
    of a sample is to be told, by `scale` (inverse temperature) times the cosine, among the views of the other sensor
    of all rows that have one. A sample counts with the mean over its pairs, the total is the mean over samples with a
    pair. Exactly 0, with gradients of 0, where no sample has one. Computed in float32 at least, outside of autocast.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        exact = embeddings if embeddings.dtype == torch.float64 else embeddings.float()
        views = torch.where(present[..., None], exact, 0)
        pairs = sensor_pairs(present.shape[1])
        both = torch.stack([present[:, one] & present[:, other] for one, other in pairs], dim=1)
        errors = torch.stack([_errors(views, present, pair, scale.to(exact.dtype)) for pair in pairs], dim=1)
        counts = both.sum(dim=0)
        return Contrast(_mean_of_means(errors, both), errors.sum(dim=0) / counts.clamp(min=1), counts)


def _errors(views: Tensor, present: Tensor, pair: tuple[int, int], scale: Tensor) -> Tensor:
    """InfoNCE per row (rows,), both ways; 0 for rows without one of the two views."""
    one, other = pair
    logits, both = scale * views[:, one] @ views[:, other].T, present[:, one] & present[:, other]
    forwards = _surprise(logits, present[:, other], both)
    backwards = _surprise(logits.T, present[:, one], both)
    return (forwards + backwards) / 2


def _surprise(logits: Tensor, candidates: Tensor, anchors: Tensor) -> Tensor:
    """Cross-entropy of the diagonal of `logits` among the columns that are `candidates`; 0 for other rows."""
    allowed = torch.where(candidates, logits, -torch.inf)
    # Zeros for rows that do not count: a sum over no candidate is no number, and so is its gradient.
    counted = torch.where(anchors[:, None], allowed, 0)
    return torch.where(anchors, counted.logsumexp(dim=1) - logits.diagonal(), 0)


def _mean_of_means(errors: Tensor, both: Tensor) -> Tensor:
    """The mean over samples of the mean over their pairs; both are (rows, pairs)."""
    pairs = both.sum(dim=1)
    return (errors.sum(dim=1) / pairs.clamp(min=1)).sum() / (pairs > 0).sum().clamp(min=1)
