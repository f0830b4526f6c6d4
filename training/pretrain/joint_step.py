"""The gradient of a loss of the whole batch at once, in the memory of one micro-batch: gradient caching."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from training.batch import Batch
from training.pretext import JointPretext, Objective, fitting
from training.runtime.device import Device
from training.runtime.distributed_context import DistributedContext

_BUCKET_BYTES = 32 << 20

Representations = Mapping[str, Tensor]


class Represent(nn.Module):
    """What a net makes of the chips of a batch, as a forward pass."""

    def __init__(self, net: JointPretext) -> None:
        super().__init__()
        self.net = net

    def forward(self, batch: Batch, counts: Tensor | None = None, fraction: float = 1.0) -> dict[str, Tensor]:
        """By name (chips, ...); `counts` and `fraction` are not used."""
        return self.net.represent(batch)


class JointStep:
    """Gradients of a `JointPretext` over micro-batches and processes (Gao et al. 2021, "GradCache").

    Every part is represented without a graph; the loss of the whole batch, gathered from all processes, gives the
    gradient of each representation; then each part is represented again, and that gradient goes on into the weights.
    Apart from rounding, this is the gradient of the whole batch in one piece. Each process computes the whole loss, as
    this costs little beside the encoders, so no gradient of a representation has to travel.
    """

    def __init__(self, net: JointPretext, device: Device, context: DistributedContext) -> None:
        self._net, self._device, self._context = net, device, context
        self._represent: Any = torch.compile(Represent(net), dynamic=False) if device.compiled else Represent(net)

    def gradients(self, parts: Sequence[Batch], chips: int) -> Objective:
        """Leave the gradient of a batch of `chips` in every `.grad`, equal in all processes.

        `parts` are the micro-batches of this process. The result is this process's share, so that the shares of all
        add up to the loss of the batch.
        """
        *others, last = parts
        cached, states = self._without_graph(others)
        graph = self._represented(last)  # The last part's graph is kept; those of the others are made once more.
        own = {name: torch.cat([item[name].detach() for item in (*cached, graph)]) for name in graph}
        result, gradients = self._of_the_batch(own, chips)
        *starts, start_of_last = _starts(parts)
        _go_on(graph, gradients, start_of_last)
        for part, state, start in zip(others, states, starts, strict=True):
            with state.again():
                _go_on(self._represented(part), gradients, start)
        self._add_up()
        return result

    def alone(self, batch: Batch) -> Objective:
        """The loss of one part by itself, with its graph."""
        return fitting(self._net.joint(exact(self._represented(batch))), self._net)

    def counted_pass(self) -> nn.Module:
        """The forward pass whose operations are counted: representing the chips, once."""
        return Represent(self._net)

    def _represented(self, part: Batch) -> dict[str, Tensor]:
        with self._device.autocast():
            result: dict[str, Tensor] = self._represent(part)
        return result

    @torch.no_grad()
    def _without_graph(self, parts: Sequence[Batch]) -> tuple[list[Representations], list[_RandomState]]:
        """The representations of `parts`, and the random state before each."""
        cached: list[Representations] = []
        states = []
        for part in parts:
            states.append(_RandomState.of(self._device))
            cached.append(self._represented(part))
        return cached, states

    def _of_the_batch(self, own: Representations, chips: int) -> tuple[Objective, dict[str, Tensor]]:
        """This process's share of the loss of the whole batch, and the gradients of its own representations.

        Parameters that only the loss uses get the same gradient in every process, so each adds its share of it.
        """
        leaves = {name: item.requires_grad_(item.is_floating_point()) for name, item in exact(own).items()}
        whole = {name: self._gathered(item, chips) for name, item in leaves.items()}
        result = fitting(self._net.joint(whole), self._net)
        share = Objective(result.total / self._context.count, result.losses / self._context.count, result.active)
        if result.total.requires_grad:
            result.total.backward()
        for parameter in self._net.parameters():
            if parameter.grad is not None:
                parameter.grad /= self._context.count
        gradients = {name: item.grad for name, item in leaves.items() if item.grad is not None}
        return Objective(share.total.detach(), share.losses.detach(), share.active), gradients

    def _gathered(self, own: Tensor, chips: int) -> Tensor:
        """The rows of all processes in order; those of this process keep their graph."""
        if self._context.count == 1:
            return own
        parts = self._context.gathered(own.detach(), chips)
        parts[self._context.rank] = own
        return torch.cat(parts)

    def _add_up(self) -> None:
        """The sum over processes of every gradient, in place; many gradients travel together.

        A wrapper that reduces during the backward pass would do so once for each part: only the last one, which may not
        even use all parameters, knows the whole gradient.
        """
        if self._context.count == 1:
            return
        trained = [parameter for parameter in self._net.parameters() if parameter.requires_grad]
        for parameter in trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        for bucket in _buckets([parameter.grad for parameter in trained if parameter.grad is not None]):
            total = self._context.summed(torch.cat([gradient.flatten() for gradient in bucket]))
            for gradient, part in zip(bucket, total.split([item.numel() for item in bucket]), strict=True):
                gradient.copy_(part.view_as(gradient))


@dataclass(frozen=True)
class _RandomState:
    """The state of torch's generators before a pass, so that a second pass draws the same."""

    host: Tensor
    device: Tensor | None
    place: torch.device

    @classmethod
    def of(cls, device: Device) -> _RandomState:
        gpu = device.place.type == "cuda"
        return cls(torch.get_rng_state(), torch.cuda.get_rng_state(device.place) if gpu else None, device.place)

    @contextmanager
    def again(self) -> Iterator[None]:
        """With this state; the state before is put back at the end."""
        with torch.random.fork_rng(devices=[self.place] if self.device is not None else []):
            torch.set_rng_state(self.host)
            if self.device is not None:
                torch.cuda.set_rng_state(self.device, self.place)
            yield


def exact(representations: Representations) -> dict[str, Tensor]:
    """Floating tensors in float32 at least."""
    return {name: item.float() if item.dtype in (torch.bfloat16, torch.float16) else item
            for name, item in representations.items()}  # fmt: skip


def _buckets(gradients: Sequence[Tensor]) -> list[list[Tensor]]:
    """Gradients of one dtype in their order, at least one and up to some megabytes of them together."""
    result: list[list[Tensor]] = []
    size = 0
    for gradient in gradients:
        if not result or size + gradient.nbytes > _BUCKET_BYTES or result[-1][0].dtype != gradient.dtype:
            result.append([])
            size = 0
        result[-1].append(gradient)
        size += gradient.nbytes
    return result


def _starts(parts: Sequence[Batch]) -> list[int]:
    """The first row of every part."""
    rows = [len(part.rows) for part in parts]
    return [sum(rows[:index]) for index in range(len(rows))]


def _go_on(graph: Representations, gradients: Mapping[str, Tensor], first: int) -> None:
    """Backward through the representations of the rows from `first` on, given the gradients of all rows."""
    known = {name: item for name, item in graph.items() if item.requires_grad and name in gradients}
    if known:
        of_rows = [gradients[name][first : first + len(item)].to(item.dtype) for name, item in known.items()]
        torch.autograd.backward(list(known.values()), of_rows)
