"""Each stage as a command: it holds the corpus's lock and opens the Earth Engine connection that the stage needs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

from flows import finetuning, stages
from flows.settings import Settings
from pipeline.lock import locked
from pipeline.progress import Progress


def _sample(settings: Settings, progress: Progress) -> str:
    connected = stages.earth_engine(settings) if stages.needs_engine_to_sample(settings) else nullcontext(None)
    with locked(settings.folder, progress.say), connected as engine:
        return stages.sample(settings, engine, progress)


def _anchor(settings: Settings, progress: Progress) -> str:
    with locked(settings.folder, progress.say), stages.earth_engine(settings) as engine:
        return stages.anchor(settings, engine, progress)


def _export(settings: Settings, progress: Progress) -> str:
    with locked(settings.folder, progress.say), stages.earth_engine(settings) as engine:
        return stages.export(settings, engine, progress)


def _finalize(settings: Settings, progress: Progress) -> str:
    with locked(settings.folder, progress.say):
        return stages.finalize(settings, progress)


def _build(settings: Settings, progress: Progress) -> str:
    """The four before it, with one lock and one connection; `prefect_runs.orchestration` has them as a flow."""
    with locked(settings.folder, progress.say), stages.earth_engine(settings) as engine:
        stages.store_of(settings).check()  # now, and not hours later when the first shard is written
        stages.sample(settings, engine, progress)
        stages.anchor(settings, engine, progress)
        stages.export(settings, engine, progress)
        return stages.finalize(settings, progress)


STAGES: dict[str, Callable[[Settings, Progress], str]] = {
    "sample": _sample,
    "anchor": _anchor,
    "export": _export,
    "finalize": _finalize,
    "build": _build,
    "pretrain": stages.pretrain,
    "finetune": finetuning.finetune,
}
