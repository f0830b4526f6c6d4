"""What few labels tell on the embeddings of the demo's tiles, beside what a person would take instead."""

from __future__ import annotations

from flows.fewshot.compare import few_shot
from flows.fewshot.outputs import write
from flows.fewshot.plan import Named, Plan
from flows.fewshot.target import Target
from flows.sensor_demo.embeddings import results, run_of
from flows.settings import Settings
from pipeline.progress import Progress

FEWSHOT = "fewshot"
TARGETS = {
    "vegetation": "modis_tree_cover",
    "built-up": "ghsl_built_up",
    "cropland": "esa_worldcover:cropland",
    "water": "esa_worldcover:permanent water bodies",
}
# A whole comparison has more of everything; this one is to end soon.
_SHOTS, _DRAWS, _RESAMPLES = (10, 50), 5, 100
_FAMILIES = ("nearest", "linear")


def compared(settings: Settings, progress: Progress) -> str:
    """Compare the encoders with random weights and band statistics, in files; returns the tables. Raises `Fatal`."""
    plan = Plan(
        settings.folder, (Named("these encoders", str(run_of(settings))),),
        tuple(Target(name, source) for name, source in TARGETS.items()), shots=_SHOTS, draws=_DRAWS,
        families=_FAMILIES, resamples=_RESAMPLES,
    )  # fmt: skip
    out = results(settings) / FEWSHOT
    return write(few_shot(plan, out, progress), out)
