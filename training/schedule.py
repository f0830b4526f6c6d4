"""The learning rate over a run: a linear warm-up, then half a cosine to 0."""

from __future__ import annotations

import math

BLR_BATCH = 256  # The batch size to which base learning rates refer (Goyal et al. 2017).


def rate_at(step: int, steps: int, warm: int, peak: float = 1.0) -> float:
    """The learning rate of step `step` (from 0) of `steps`; it rises to `peak` over the first `warm` steps."""
    if step < warm:
        return peak * (step + 1) / warm
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
