"""A small net with a joint loss, batches for it, and its gradients computed in parts and in processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.progress import Progress
from training.batch import Batch
from training.config import PretrainConfig
from training.model.contrast import contrast
from training.pretext import JointPretext, Objective
from training.pretrain.joint_step import JointStep
from training.rank_slice import RankSlice
from training.runtime.device import Device
from training.runtime.distributed_context import DistributedContext

SENSORS = ("a", "b", "c")
Gradients = dict[str, Tensor]


class JointNet(JointPretext):
    """Three linear encoders with dropout, a layer after them that the loss alone uses, and a temperature."""

    loss_names = ("a-b", "a-c", "b-c")

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.encoder = nn.ModuleDict({name: nn.Linear(6, 5) for name in SENSORS})
        self.dropout, self.turn = nn.Dropout(dropout), nn.Linear(5, 5)
        self.log_scale = nn.Parameter(torch.tensor(2.0))

    def represent(self, batch: Batch) -> dict[str, Tensor]:
        views = torch.stack([self.dropout(self.encoder[name](batch.values[name])) for name in SENSORS], dim=1)
        return {"views": views, "present": torch.stack([batch.valid[name][:, 0] for name in SENSORS], dim=1)}

    def joint(self, representations: dict[str, Tensor]) -> Objective:
        views = functional.normalize(self.turn(representations["views"]), dim=2)
        result = contrast(views, representations["present"], self.log_scale.exp())
        return Objective(result.total, result.pairs.detach(), result.counts > 0)


def make_net(dropout: float = 0.0) -> JointNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return JointNet(dropout).double()


def make_batch(rows: int) -> Batch:
    """A sensor is absent in some chips."""
    random = torch.Generator().manual_seed(5)
    values = {name: torch.randn(rows, 6, generator=random, dtype=torch.float64) for name in SENSORS}
    valid = {name: torch.rand(rows, 1, generator=random).expand(-1, 6) < 0.7 for name in SENSORS}
    return Batch(values, valid, torch.zeros(rows, 1, 1, dtype=torch.bool), tuple(range(rows)))


def part_of(batch: Batch, rows: slice) -> Batch:
    values, valid = ({name: item[rows] for name, item in tensors.items()} for tensors in (batch.values, batch.valid))
    return Batch(values, valid, batch.visible[rows], batch.rows[rows])


def gradients_in_parts(
    rows: int, micro_batches: int, dropout: float = 0.0, context: DistributedContext | None = None
) -> tuple[Gradients, Objective]:
    """The gradients of a batch that is divided, and this process's share of its objective."""
    context, net, batch = context or DistributedContext(), make_net(dropout), make_batch(rows)
    slices = RankSlice(context.rank, context.count, micro_batches).slices(rows)
    device = Device.of(PretrainConfig(device="cpu"))
    result = JointStep(net, device, context).gradients([part_of(batch, each) for each in slices], rows)
    return {name: item.grad for name, item in net.named_parameters() if item.grad is not None}, result


def gradients_in_process(
    rows: int, micro_batches: int, progress: Progress
) -> tuple[dict[str, list[Any]], list[float], list[bool]]:
    """As `gradients_in_parts`, as one of several processes; losses are added up. Raises if processes differ.

    Lists, as a tensor that is sent does not outlive its process.
    """
    context = DistributedContext.from_environment()
    with context.joined(torch.device("cpu")):
        gradients, result = gradients_in_parts(rows, micro_batches, context=context)
        for name, gradient in gradients.items():
            if not torch.equal(gradient * context.count, context.summed(gradient.clone())):
                raise AssertionError(f"processes have other gradients of {name}")
        losses = context.summed(torch.cat([result.total[None], result.losses]))
        return {name: item.tolist() for name, item in gradients.items()}, losses.tolist(), result.active.tolist()
