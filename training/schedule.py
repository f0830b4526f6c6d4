"""The learning rate over a run: a linear warm-up, then half a cosine to 0."""

from __future__ import annotations

import math

BLR_BATCH = 256  # The batch that a base learning rate is meant for (Goyal et al. 2017).


def rate_at(step: int, steps: int, warm: int, peak: float = 1.0) -> float:
    """The rate of step `step`, from 0, of `steps`, of which the first `warm` lead up to `peak`."""
    if step < warm:
        return peak * (step + 1) / warm
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
