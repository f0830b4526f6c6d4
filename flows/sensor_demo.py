"""The end of the demo of sensors: whose views find each other, and in plain words what that means."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.closing import Closing
from flows.settings import Settings, as_typed
from flows.stages import REPORT, program, run_name
from pipeline.corpus import Corpus
from pipeline.lock import RUNS
from pipeline.progress import Progress

if TYPE_CHECKING:
    from training.evaluate.retrieval import Recall
    from training.evaluate.views import Views

_ENCODER = "encoder-"


@dataclass(frozen=True)
class Retrieval:
    """How often the nearest view by `other` is that of the same chip, in percent, with a 95 % interval and chance."""

    one: str
    other: str
    chips: int
    percent: float
    interval: tuple[float, float]
    chance: float

    @classmethod
    def of(cls, one: str, other: str, recall: Recall) -> Retrieval:
        """From shares."""
        low, high = recall.interval
        interval = round(100 * low, 1), round(100 * high, 1)
        return cls(one, other, recall.candidates, round(100 * recall.score, 1), interval, round(100 * recall.chance, 1))

    def line(self) -> str:
        """For the closing lines."""
        low, high = self.interval
        return f"  {f'{self.one} to {self.other}':<56}{self.percent:>5.1f} % ({low:.1f} to {high:.1f})"


def retrievals(settings: Settings, progress: Progress) -> list[Retrieval]:
    """Every pair of sensors of the run, both ways, on the chips of val and test: none of them was trained on.

    Pairs that no chip has are left out. Raises `Fatal` for a corpus or weights that cannot be read.
    """
    from training.evaluate.retrieval import recall_at_1

    views, found = _views(settings, progress), []
    for one, other in permutations(views, 2):
        both = views[one].present & views[other].present
        if both.any():
            recall = recall_at_1(views[one].vectors[both], views[other].vectors[both])
            found.append(Retrieval.of(one, other, recall))
    return found


def _views(settings: Settings, progress: Progress) -> dict[str, Views]:
    """The views of the chips of val and test, by sensor."""
    from training.evaluate.views import views_of
    from training.weights.weights import load_encoder

    corpus = Corpus.open(settings.folder)
    rows = np.sort(np.concatenate([corpus.manifest.rows_of(split) for split in ("val", "test")]))
    files = sorted((settings.folder / RUNS / run_name(settings)).glob(f"{_ENCODER}*.safetensors"))
    progress.start("retrieval", len(files))
    views = {}
    for path in files:
        views[path.stem.removeprefix(_ENCODER)] = views_of(load_encoder(path), corpus, rows)
        progress.advance()
    return views


def summary(settings: Settings, requests: int, trained: str, found: list[Retrieval]) -> str:
    """The closing lines: where the results are, what the numbers mean, and what to run next."""
    folder = settings.folder
    corpus, run = Corpus.open(folder), folder / RUNS / run_name(settings)
    text = "\n".join([*_where(corpus, settings, requests, trained), *_meaning(found), *_next(settings)])
    facts = trained.facts if isinstance(trained, Closing) else {}
    return Closing.of(
        text, **facts, chips=len(corpus.manifest), requests=requests, report=str(folder / REPORT),
        store=corpus.store.url, run=str(run), retrieval=[_as_json(item) for item in found],
    )  # fmt: skip


def _where(corpus: Corpus, settings: Settings, requests: int, trained: str) -> list[str]:
    folder = settings.folder
    return [
        "",
        f"A corpus of {len(corpus.manifest)} tiles; this run made {requests} requests to Earth Engine:",
        f"  report    {folder / REPORT}    open it in a browser",
        f"  store     {corpus.store.url}    xarray.open_zarr reads it",
        f"  encoders  {folder / RUNS / run_name(settings)}    one file for each sensor",
        f"  training  {trained}",
    ]


def _meaning(found: list[Retrieval]) -> list[str]:
    if not found:
        return []
    chips, chance = found[0].chips, found[0].chance
    return [
        "",
        f"Of {chips} tiles that were not trained on, how often the nearest view by another sensor is that of the same",
        f"tile (a guess: {chance:.1f} %; in brackets 95 % of such samples):",
        *[item.line() for item in found],
        "More than a guess: the encoders see what the sensors have in common. On a made planet it says nothing of the",
        "real Earth.",
    ]


def _next(settings: Settings) -> list[str]:
    typed, encoder = as_typed(settings.folder), settings.folder / RUNS / run_name(settings)
    return [
        "",
        "Next:",
        f"  {program()} probe {encoder} --label esa_worldcover",
        f"  {program()} pretrain {typed} pretrain.steps=2000 pretrain.run=longer",
        f"  {program()} build sensors source.project=YOUR-PROJECT corpus.folder=mine sampling.locations=100",
    ]


def _as_json(item: Retrieval) -> dict[str, Any]:
    return {"from": item.one, "to": item.other, "percent": item.percent, "interval": list(item.interval),
            "chance": item.chance, "chips": item.chips}  # fmt: skip
