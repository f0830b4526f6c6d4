"""Gradients have the strides of their parameters, so that no wrapper copies or warns; many are summed at once."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pipeline.corpus import Corpus
from tests.training.corpora import CONFIG
from training.pretrain.joint_step import _buckets
from training.pretrain.pretext_net import build_net
from training.pretrain.resolved_run import resolve_run
from training.runtime.device import Device


@pytest.mark.parametrize("skip_hidden", [True, False])
def test_every_gradient_has_the_strides_of_its_parameter(corpus: Corpus, skip_hidden: bool) -> None:
    resolved = resolve_run(corpus, replace(CONFIG, skip_hidden=skip_hidden))
    net, batch = Device.of(resolved.config).adopt(build_net(resolved)), resolved.loader.batch(0)
    named = dict(net.named_parameters())
    total = net.objective(batch, net.counts(batch), 1.0).total
    gradients = torch.autograd.grad(total, list(named.values()), allow_unused=True)
    pairs = [(name, item, gradient) for (name, item), gradient in zip(named.items(), gradients, strict=True)]
    other = [name for name, item, gradient in pairs if gradient is not None and gradient.stride() != item.stride()]
    assert not other, other


def test_gradients_travel_together_in_their_order() -> None:
    shapes = [(3, torch.float32), (2**22, torch.float32), (2**22, torch.float32), (5, torch.float32), (1, torch.int64)]
    gradients = [torch.zeros(shape, dtype=kind) for shape, kind in shapes]
    sizes = [[len(item) for item in bucket] for bucket in _buckets(gradients)]
    assert sizes == [[3, 2**22], [2**22, 5], [1]]
