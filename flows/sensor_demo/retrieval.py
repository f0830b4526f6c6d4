"""Whose views find each other: every pair of sensors, on tiles that were not trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.settings import Settings
from flows.stages import run_name
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

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {"from": self.one, "to": self.other, "percent": self.percent, "interval": list(self.interval),
                "chance": self.chance, "chips": self.chips}  # fmt: skip


def retrievals(settings: Settings, progress: Progress) -> list[Retrieval]:
    """Every pair of sensors of the run, both ways, on the chips of val and test.

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


def _views(settings: Settings, progress: Progress) -> Mapping[str, Views]:
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
