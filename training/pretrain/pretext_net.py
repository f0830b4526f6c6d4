"""Builds the net of a run, and refuses one that lacks a piece before its first step would."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from pipeline.errors import Fatal
from training.pretext import AdditivePretext, JointPretext, Pretext
from training.pretrain.exports import exports_of
from training.pretrain.resolved_run import ResolvedRun

_PIECES: dict[type[Pretext], tuple[str, ...]] = {
    AdditivePretext: ("counts", "objective"),
    JointPretext: ("represent", "joint"),
}


def build_net(resolved: ResolvedRun) -> Pretext:
    """The net of a run, initialised from its seed; torch's generator is as before.

    Raises `Fatal` for a net that lacks what `Pretext` asks for, naming the method and the piece, and for a `build` that
    cannot be called as one.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(resolved.config.seed)
        net = _built(resolved)
    lacking = ", ".join(_lacking(net))
    if lacking:
        raise Fatal(f"the net of method {_named(resolved)} lacks {lacking}; docs/methods.md says what a method gives.")
    list(exports_of(resolved, net))  # Refused now, not when the run ends.
    return net


def _built(resolved: ResolvedRun) -> Pretext:
    try:
        return resolved.method.build(resolved.inputs, resolved.targets, resolved.config)
    except TypeError as error:
        if error.__traceback__ and error.__traceback__.tb_next:  # from inside of `build`
            raise
        what = " ".join(str(error).split())
        raise Fatal(
            f"the build of method {_named(resolved)} cannot be called with inputs, targets and config: {what}; "
            "docs/methods.md says what a method gives."
        ) from error


def _named(resolved: ResolvedRun) -> str:
    return resolved.config.method_file or resolved.config.method


def _lacking(net: object) -> Iterator[str]:
    base = next((base for base in _PIECES if isinstance(net, base)), None)
    if base is None:
        yield "the base AdditivePretext or JointPretext"
        return
    if not isinstance(getattr(net, "encoder", None), nn.Module):
        yield "encoder"
    if not getattr(net, "loss_names", ()):
        yield "loss_names"
    yield from (name for name in _PIECES[base] if getattr(type(net), name) is getattr(base, name))
