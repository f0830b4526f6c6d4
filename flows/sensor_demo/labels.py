"""What few labels tell on the embeddings of the demo's tiles, beside what a person would take instead."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from flows.fewshot.compare import few_shot
from flows.fewshot.outputs import write
from flows.fewshot.plan import Named, Plan
from flows.fewshot.target import Target
from flows.sensor_demo.embeddings import results, run_of
from flows.settings import Settings
from pipeline.progress import Progress

FEWSHOT = "fewshot"
_TARGETS = "demo-sensors.targets.json"  # beside the configuration: which layer and class tells what
# A whole comparison has more of everything; this one is to end soon.
_SHOTS, _DRAWS, _RESAMPLES = (10, 50), 5, 100
_FAMILIES = ("nearest", "linear")


def targets() -> list[Target]:
    """What is to be told of a tile."""
    path = Path(str(files("flows") / "configs" / _TARGETS))
    return [Target(name, source) for name, source in json.loads(path.read_text(encoding="utf-8")).items()]


def compared(settings: Settings, progress: Progress) -> str:
    """Compare the encoders with random weights and band statistics, in files; returns the tables. Raises `Fatal`."""
    plan = Plan(
        settings.folder, (Named("these encoders", str(run_of(settings))),), tuple(targets()), shots=_SHOTS,
        draws=_DRAWS, families=_FAMILIES, resamples=_RESAMPLES,
    )  # fmt: skip
    out = results(settings) / FEWSHOT
    return write(few_shot(plan, out, progress), out)
