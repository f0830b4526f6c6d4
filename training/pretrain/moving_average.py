"""The exponential moving average of a net's weights over its steps, which often serves better than the last ones."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor

from training.pretext import Pretext

_WARM = 10  # Steps before which the average forgets fast: the first weights are random.


class MovingAverage:
    """The average of all parameters with `decay` per step, on their device; 0 keeps none, and costs nothing.

    The decay of step n is at most (1 + n) / (10 + n), as is usual, so that short runs do not keep their first weights.
    """

    def __init__(self, net: Pretext, decay: float) -> None:
        self._net, self._decay = net, decay
        self._averages = [item.detach().clone() for item in net.parameters()] if decay else []

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the weights after `step` steps in. Those of a skipped update are the ones before, and as good."""
        if self._averages:
            decay = min(self._decay, (1 + step) / (_WARM + step))
            torch._foreach_lerp_(self._averages, list(self._net.parameters()), 1 - decay)

    def net(self) -> Pretext:
        """The net to export: a copy with the averages for weights, or without an average the net itself."""
        if not self._averages:
            return self._net
        averaged = deepcopy(self._net)
        self._fill(averaged)
        return averaged

    def put_into(self, net: Pretext) -> None:
        """Give another net of the same kind the weights with which the run would end now."""
        net.load_state_dict(self._net.state_dict())
        if self._averages:
            self._fill(net)

    @torch.no_grad()
    def _fill(self, net: Pretext) -> None:
        for weights, average in zip(net.parameters(), self._averages, strict=True):
            weights.copy_(average)

    def state(self) -> dict[str, dict[str, Tensor]]:
        """For a checkpoint: the state of the averaged net; nothing without an average."""
        return {"ema": self.net().state_dict()} if self._averages else {}

    def restore(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Go on from the `state` of a checkpoint."""
        names = [name for name, _ in self._net.named_parameters()]
        for name, average in zip(names, self._averages, strict=False):
            average.copy_(state["ema"][name])

    def begin(self) -> None:
        """Start from the net's present weights."""
        for average, weights in zip(self._averages, self._net.parameters(), strict=False):
            average.copy_(weights.detach())
