"""A step divided into parts and processes is the step of the whole batch, and it never asks the device anything."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.corpus import Corpus
from tests.training.corpora import CONFIG
from training.batch import Batch
from training.data.batch_loader import BatchLoader
from training.methods.mpmae import MPMAE, PixelHead
from training.pretrain.additive_step import ObjectiveOf
from training.pretrain.metric_buffer import MetricBuffer
from training.pretrain.resolved_run import ResolvedRun, resolve_run
from training.pretrain.step import Step
from training.rank_slice import RankSlice
from training.runtime.device import Device
from training.runtime.distributed_context import DistributedContext
from training.runtime.flops import flops_per_chip

BATCH = 12


def make_step(corpus: Corpus, **changes: Any) -> tuple[ResolvedRun, Step]:
    config = replace(CONFIG, batch_size=BATCH, **changes)
    resolved = resolve_run(corpus, config)
    torch.manual_seed(3)
    model = MPMAE(resolved.inputs, resolved.targets, config)
    for name, weights in model.named_parameters():
        if "grn" in name or "log_var" in name:
            torch.nn.init.normal_(weights, std=0.3)
    return resolved, Step(model, config, Device.of(config), DistributedContext())


def gradients(model: MPMAE) -> dict[str, torch.Tensor]:
    return {name: weights.grad.clone() for name, weights in model.named_parameters() if weights.grad is not None}


def parts_of(loader: BatchLoader, rank_slice: RankSlice) -> list[Batch]:
    stream = loader.batches(0, 1, rank_slice=rank_slice)
    parts = list(stream)
    stream.close()
    return parts


@pytest.mark.parametrize("weighting", ["uncertainty", "sum"])
@pytest.mark.parametrize("micro_batches", [1, 2, 5, 12])
def test_parts_add_up_to_the_whole(corpus: Corpus, weighting: str, micro_batches: int) -> None:
    """Held to one plain pass over the whole batch; layers lack data in some chips, so that counts differ by part."""
    resolved, step = make_step(corpus, weighting=weighting)
    whole = resolved.loader.batch(0)
    objective = step.model.objective(whole)
    objective.total.backward()
    expected = gradients(step.model)
    row = step.take(parts_of(resolved.loader, RankSlice(micro_batches=micro_batches)), BATCH, rate=0.0)
    result = gradients(step.model)
    assert result.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(result[name], gradient, rtol=1e-4, atol=1e-5, msg=name)  # float32, by processor
    metrics = MetricBuffer(len(resolved.targets), DistributedContext())
    metrics.add(row)
    figures = metrics.fetch(1)[0]
    torch.testing.assert_close(torch.tensor(figures.losses), objective.losses.detach(), rtol=1e-5, atol=1e-6)
    assert figures.active == tuple(objective.active.tolist())
    assert figures.total == pytest.approx(float(objective.total.detach()), rel=1e-5)
    norm = torch.cat([gradient.flatten() for gradient in expected.values()]).norm()
    assert figures.gradient_norm == pytest.approx(float(norm), rel=1e-4)


@pytest.mark.parametrize("clip_grad", [0.01, 1e6])
def test_clipped_gradients_have_the_norm_and_the_log_the_one_before(corpus: Corpus, clip_grad: float) -> None:
    resolved, free = make_step(corpus)
    _, clipped = make_step(corpus, clip_grad=clip_grad)
    before, row = (step.take([resolved.loader.batch(0)], BATCH, rate=0.001) for step in (free, clipped))
    assert torch.equal(row, before)
    norms = [torch.cat([item.flatten() for item in gradients(step.model).values()]).norm() for step in (free, clipped)]
    assert float(norms[1]) == pytest.approx(min(clip_grad, float(norms[0])), rel=1e-4)


def test_averaging_the_parts_losses_would_be_another_step(corpus: Corpus) -> None:
    """The counts matter: if they did not here, the test above could not tell."""
    resolved, step = make_step(corpus)
    parts = parts_of(resolved.loader, RankSlice(micro_batches=5))
    mean = torch.stack([step.model.objective(part).losses.detach() for part in parts]).mean(0)
    whole = step.model.objective(resolved.loader.batch(0)).losses.detach()
    assert not torch.allclose(mean, whole, rtol=1e-3)


@pytest.mark.parametrize("worlds", [(1, 1), (2, 1), (3, 2), (5, 1)])
def test_any_number_of_processes_sees_every_row_once(corpus: Corpus, worlds: tuple[int, int]) -> None:
    count, most = worlds
    loader = resolve_run(corpus, replace(CONFIG, batch_size=7)).loader
    for step in range(2 * loader.steps_per_epoch):
        rows: list[int] = []
        for rank in range(count):
            stream = loader.batches(step, step + 1, rank_slice=DistributedContext(rank, count).rank_slice(7, most))
            for part in stream:
                assert len(part.rows) <= most or count * most < 7
                rows += part.rows
            stream.close()
        assert tuple(rows) == loader.batch(step).rows


def test_pieces_are_no_larger_than_asked_and_none_is_empty() -> None:
    """Two chips where one was asked for and processes have unequal parts: no net takes a piece without chips."""
    for batch in range(1, 40):
        for count in range(1, min(batch, 6) + 1):
            for most in range(1, 9):
                rank_slices = [
                    DistributedContext(rank, count).rank_slice(batch, most).slices(batch) for rank in range(count)
                ]
                sizes = [piece.stop - piece.start for rank_slice in rank_slices for piece in rank_slice]
                assert sum(sizes) == batch and min(sizes) > 0
                assert max(sizes) <= (2 if most == 1 and batch % count else most)
    assert DistributedContext(0, 2).rank_slice(10, 0).micro_batches == 1


class Calls(TorchDispatchMode):
    """The names of all operators that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def test_a_step_does_not_wait_for_the_device(corpus: Corpus) -> None:
    """No operator of a step hands a value to the host, or has a shape that depends on values."""
    resolved, step = make_step(corpus, clip_grad=1.0)
    parts = parts_of(resolved.loader, RankSlice(micro_batches=2))
    with Calls() as calls:
        row = step.take(parts, BATCH, rate=0.1)
        step.take(parts, BATCH, rate=0.1)
    waiting = {"_local_scalar_dense", "item", "is_nonzero", "nonzero", "masked_select", "equal", "unique_consecutive"}
    assert "convolution" in calls.names and not calls.names & waiting, calls.names & waiting
    with Calls() as looking:
        float(row[0])
    assert looking.names & waiting, "the test would not notice"


def test_flops_are_those_of_convolutions_and_products(corpus: Corpus) -> None:
    """Held to a count by hand of every layer's multiply-adds, from the shapes that pass through it."""
    resolved, step = make_step(corpus, decoder="per-task", skip_hidden=False)
    batch, counted = resolved.loader.batch(0), 0

    def count(layer: torch.nn.Module, _inputs: Any, output: torch.Tensor) -> None:
        nonlocal counted
        weight = layer.expand.weight if isinstance(layer, PixelHead) else layer.weight
        counted += 2 * output.numel() * weight[0].numel()

    kinds = torch.nn.Conv2d | torch.nn.Linear | PixelHead
    hooks = [part.register_forward_hook(count) for part in step.model.modules() if isinstance(part, kinds)]
    with torch.no_grad():
        step.model(batch)
    for hook in hooks:
        hook.remove()
    assert flops_per_chip(ObjectiveOf(step.model), batch, len(step.model.targets)) == pytest.approx(3 * counted / BATCH)
    per_task = make_step(corpus, decoder="per-task")[1].model
    assert flops_per_chip(ObjectiveOf(per_task), batch, len(per_task.targets)) < 3 * counted / BATCH


@pytest.mark.slow
def test_a_compiled_step_is_one_graph(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Captured whole, and once for parts of one size although their rows differ; generating code takes minutes here."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    resolved, eager = make_step(corpus)
    _, compiled = make_step(corpus, compile="on")
    counters.clear()
    for first in range(3):
        parts = [resolved.loader.batch(first)]
        rows = [step.take(parts, BATCH, rate=0.001) for step in (eager, compiled)]
        torch.testing.assert_close(rows[0], rows[1], rtol=1e-3, atol=1e-4)
    assert counters["stats"]["unique_graphs"] == 1 and not counters["graph_break"], dict(counters)
