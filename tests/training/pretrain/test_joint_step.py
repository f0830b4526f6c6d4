"""Gradient caching gives the gradient of the whole batch at once, in any number of parts and processes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn.utils import parameters_to_vector

from pipeline.progress import Silent
from tests.training.pretrain.joint_net import (
    Gradients,
    gradients_in_parts,
    gradients_in_process,
    make_batch,
    make_net,
    part_of,
)
from training.batch import Batch
from training.config import PretrainConfig
from training.pretext import Objective
from training.pretrain.joint_step import JointStep
from training.runtime import launch
from training.runtime.device import Device
from training.runtime.distributed_context import DistributedContext

ROWS = 11


def plainly(rows: int) -> tuple[Gradients, Objective]:
    """The whole batch in one graph."""
    net = make_net()
    result = net.joint(net.represent(make_batch(rows)))
    result.total.backward()
    return {name: item.grad for name, item in net.named_parameters() if item.grad is not None}, result


def assert_same(one: Gradients, other: Gradients) -> None:
    assert one.keys() == other.keys()
    for name, gradient in one.items():
        torch.testing.assert_close(other[name], gradient, rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize("micro_batches", [1, 2, 3, 11])
def test_parts_have_the_gradient_of_the_whole(micro_batches: int) -> None:
    expected, whole = plainly(ROWS)
    gradients, result = gradients_in_parts(ROWS, micro_batches)
    assert_same(expected, gradients)
    torch.testing.assert_close(result.total, whole.total.detach(), rtol=1e-10, atol=0)
    torch.testing.assert_close(result.losses, whole.losses, rtol=1e-10, atol=0)
    assert not result.total.requires_grad and torch.equal(result.active, whole.active)


def test_losses_of_parts_would_have_another_gradient() -> None:
    """If they did not, the tests above could not tell: every part lacks the negatives of the others."""
    expected, _ = plainly(ROWS)
    net, batch = make_net(), make_batch(ROWS)
    for part in (part_of(batch, slice(0, 5)), part_of(batch, slice(5, ROWS))):
        (net.joint(net.represent(part)).total / 2).backward()
    assert not torch.allclose(net.encoder["a"].weight.grad, expected["encoder.a.weight"], rtol=0.05)


def test_the_second_pass_draws_what_the_first_drew() -> None:
    """Dropout of a kept graph, in one part, against that of cached parts, drawn one after the other."""
    net, batch = make_net(0.5), make_batch(ROWS)
    parts = [part_of(batch, slice(0, 4)), part_of(batch, slice(4, ROWS))]
    torch.manual_seed(1)
    kept = [net.represent(part) for part in parts]
    net.joint({name: torch.cat([item[name] for item in kept]) for name in kept[0]}).total.backward()
    other = make_net(0.5)
    torch.manual_seed(1)
    JointStep(other, Device.of(PretrainConfig(device="cpu")), DistributedContext()).gradients(parts, ROWS)
    after = torch.rand(1)
    assert_same(*({name: item.grad for name, item in each.named_parameters()} for each in (net, other)))
    torch.manual_seed(1)
    for part in parts:
        net.represent(part)
    assert torch.equal(torch.rand(1), after), "the second pass leaves the random state as it was"


def test_no_more_than_one_part_has_a_graph_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    net, batch = make_net(), make_batch(ROWS)
    graphs: list[int] = []
    represent = net.represent

    def watched(part: Batch) -> dict[str, torch.Tensor]:
        result = represent(part)
        graphs.append(len(part.rows) if result["views"].requires_grad else 0)
        return result

    monkeypatch.setattr(net, "represent", watched)
    parts = [part_of(batch, slice(row, row + 1)) for row in range(ROWS)]
    JointStep(net, Device.of(PretrainConfig(device="cpu")), DistributedContext()).gradients(parts, ROWS)
    assert graphs == [0] * (ROWS - 1) + [1] * ROWS, "every part but the last twice, at first without a graph"


def test_sensors_that_no_chip_has_leave_gradients_of_zero() -> None:
    net, batch = make_net(), make_batch(ROWS)
    absent = batch.valid | {"c": torch.zeros_like(batch.valid["c"])}
    whole = Batch(batch.values, absent, batch.visible, batch.rows)
    step = JointStep(net, Device.of(PretrainConfig(device="cpu")), DistributedContext())
    result = step.gradients([part_of(whole, slice(0, 6)), part_of(whole, slice(6, ROWS))], ROWS)
    assert result.active.tolist() == [True, False, False] and result.losses[1:].tolist() == [0, 0]
    gradients = parameters_to_vector(item.grad for item in net.encoder["c"].parameters())
    assert not gradients.any() and net.encoder["a"].weight.grad.any()


@pytest.mark.slow
def test_two_processes_have_the_gradient_of_the_whole(tmp_path: Path) -> None:
    """Gloo; the rows do not divide evenly."""
    expected, whole = plainly(ROWS)
    gradients, losses, active = launch.together(gradients_in_process, (ROWS, 2), 2, Silent(), tmp_path / "logs")
    assert_same(expected, {name: torch.tensor(item, dtype=torch.float64) for name, item in gradients.items()})
    assert losses == pytest.approx([float(whole.total.detach()), *whole.losses.tolist()], rel=1e-10)
    assert active == whole.active.tolist()
