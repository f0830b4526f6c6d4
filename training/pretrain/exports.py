"""The files of weights that a run ends with: the encoders that its method exports, each on its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import Fatal
from training.model.encoder import Encoder
from training.model.normalisation import Normalisation
from training.model.tower import Tower
from training.pretext import Pretext
from training.pretrain.resolved_run import ResolvedRun
from training.weights.from_run import facts_of
from training.weights.pretrained import Pretrained
from training.weights.weights import save_encoder

_SUFFIX = ".safetensors"


def exports_of(resolved: ResolvedRun, net: Pretext) -> Iterator[tuple[str, Encoder | Tower, Normalisation]]:
    """The name of every file that a run ends with, its encoder, and the normalisation of what this takes.

    Raises `Fatal` for an encoder that no file of weights can hold.
    """
    for name, exported in resolved.method.export(net, resolved.inputs).items():
        encoder = exported.encoder
        if not isinstance(encoder, Encoder | Tower):
            raise Fatal(
                f"method {resolved.config.method!r} exports {name!r} as a {type(encoder).__name__}, which files of "
                "weights do not hold; use an Encoder or a Tower of training.model."
            )
        yield name, encoder, Normalisation.of(exported.inputs)


def save_encoders(run_folder: Path, resolved: ResolvedRun, net: Pretext, checkpoint: Path) -> None:
    """Write `NAME.safetensors` for every encoder of the method, with the facts of the `checkpoint` it is of."""
    for name, encoder, normalisation in exports_of(resolved, net):
        save_encoder(run_folder / f"{name}{_SUFFIX}", Pretrained(encoder, normalisation, facts_of(checkpoint)))


def files_of(run_folder: Path, resolved: ResolvedRun, net: Pretext) -> tuple[Path, ...]:
    """The files of weights of a run, whether they are there already or not."""
    return tuple(run_folder / f"{name}{_SUFFIX}" for name in resolved.method.export(net, resolved.inputs))
