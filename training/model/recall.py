"""Retrieval between two sensors, on any device: is the nearest view by the other sensor that of the same chip?"""

from __future__ import annotations

import torch
from torch import Tensor


def recall_at_1(views: Tensor, present: Tensor, pair: tuple[int, int]) -> Tensor:
    """Recall at 1 between two sensors, the mean of both directions, scalar; NaN where no chip has both views.

    `views` (chips, sensors, width) have length 1, `present` (chips, sensors) bool says which are there. Candidates are
    the chips with both views. A tie with another chip is a miss, as in `training.evaluate.retrieval`.
    """
    one, other = pair
    both = present[:, one] & present[:, other]
    cosines = views[both, one] @ views[both, other].T
    own = cosines.diagonal().clone()
    others = cosines.clone().fill_diagonal_(-torch.inf)
    found = torch.stack([own > others.amax(dim=axis) for axis in (0, 1)]) if len(own) else own.new_empty(2, 0)
    return found.float().mean()
