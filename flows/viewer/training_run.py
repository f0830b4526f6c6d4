"""One training run in the explorer: its losses over the steps, figures on val chips, and its pictures."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from flows.loss_words import FELL
from flows.viewer.event_file import Curve, EventFile
from pipeline import durable
from pipeline.errors import Fatal
from pipeline.progress import duration

RUN, CARD = "run.json", "model_card.md"  # what a run begins and ends with
_LOGS, _VALIDATION, _PICTURES, _DRAWN = "tensorboard", "validation.json", "pictures", "chips.json"
_MOST_POINTS = 300  # of a curve: a screen shows no more
_COMPARED = 20  # steps at either end, or a quarter of them, as the end of `pretrain` has it
_AT_WORK_S = 60.0
_LOSS = "loss"


@dataclass
class TrainingRun:
    """A run in `folder`, read on from call to call, by one thread at a time."""

    name: str
    folder: Path
    _files: dict[Path, EventFile] = field(default_factory=dict)
    _curves: dict[str, Curve] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def told(self) -> dict[str, Any]:
        """All of it for JSON. Raises `Fatal` for a `run.json` that cannot be read."""
        about = self.about()
        with self._lock:
            notes = self._read_on()
            losses = [_loss(tag, curve) for tag, curve in sorted(self._curves.items()) if _is_loss(tag)]
            step = max((curve.steps[-1] for curve in self._curves.values()), default=0)
        state = {"step": step, "steps": about.get("steps", 0), "state": self._state(), "notes": notes}
        return {"name": self.name, "folder": str(self.folder), **state, "losses": losses,
                "validation": self._validation(), "pictures": self.pictures(), "drawn": self._drawn()}  # fmt: skip

    def about(self) -> Mapping[str, Any]:
        """What `run.json` says. Raises `Fatal` where it cannot be read, or is not that of a run."""
        about = durable.read_json(self.folder / RUN)
        if not isinstance(about.get("steps", 0), int):
            raise Fatal(
                f"{self.folder / RUN} is no run's: its steps are no number; delete the folder, or run it again."
            )
        return about

    @property
    def changed_at(self) -> float:
        """When something was last written, seconds since 1970."""
        paths = [*self._logs(), self.folder / _VALIDATION, self.folder / RUN, self.folder / CARD]
        return max((path.stat().st_mtime for path in paths if path.exists()), default=0.0)

    def _state(self) -> str:
        """A few words; a run has no lock and no process that could be asked."""
        if (self.folder / CARD).exists():
            return "ended"
        silent_s = time.time() - self.changed_at
        return "at work" if silent_s < _AT_WORK_S else f"silent for {duration(silent_s)}"

    def _logs(self) -> list[Path]:
        return sorted(path for path in (self.folder / _LOGS).glob("events.out.tfevents.*") if self._is_own(path))

    def _is_own(self, path: Path) -> bool:
        """Whether it is a file in the folder, and no link to elsewhere."""
        return path.is_file() and path.resolve().is_relative_to(self.folder.resolve())

    def _read_on(self) -> list[str]:
        """Read what is new; sentences about what cannot be read."""
        for path in self._logs():
            file = self._files.setdefault(path, EventFile(path))
            try:
                file.read_on(self._curves)
            except OSError as error:
                return [f"{path} cannot be read ({error})."]
        return [file.note for file in self._files.values() if file.note]

    def _validation(self) -> list[dict[str, Any]]:
        """A curve for each figure of `validation.json`, the loss first; none where there is no such file."""
        try:
            looks = json.loads((self.folder / _VALIDATION).read_text(encoding="utf-8"))
            names = dict.fromkeys(name for look in looks for name in look if name != "step")
            curves = {
                name: [(int(look["step"]), float(look[name])) for look in looks if name in look] for name in names
            }
        except (OSError, ValueError, TypeError, KeyError):
            return []
        return [_drawn_curve(name, *zip(*points, strict=True)) for name, points in curves.items()]

    def pictures(self) -> list[dict[str, Any]]:
        """Step and file name of each picture, ascending."""
        found = sorted((self.folder / _PICTURES).glob("step-*.png"))
        steps = [(path.stem.removeprefix("step-"), path) for path in found if self._is_own(path)]
        return [{"step": int(step), "file": path.name} for step, path in steps if step.isdigit()]

    def picture(self, name: str) -> bytes:
        """One of `pictures`, a PNG; raises `Fatal` for another name."""
        if name not in [item["file"] for item in self.pictures()]:
            raise Fatal(f"run {self.name} has no picture {name!r}.")
        return (self.folder / _PICTURES / name).read_bytes()

    def _drawn(self) -> list[str]:
        """Ids of the chips in the pictures; none of a run of an older release."""
        try:
            ids = json.loads((self.folder / _PICTURES / _DRAWN).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return []
        return [item for item in ids if isinstance(item, str)] if isinstance(ids, list) else []


def _is_loss(tag: str) -> bool:
    return tag == _LOSS or tag.startswith(f"{_LOSS}/")


def _loss(tag: str, curve: Curve) -> dict[str, Any]:
    """A loss for JSON, with means over its first and last steps, and what that says."""
    values = np.frombuffer(curve.values, np.float64).copy() if curve.values else np.zeros(0)
    known = values[np.isfinite(values)]
    count = max(1, min(_COMPARED, len(known) // 4))
    ends = (float(known[:count].mean()), float(known[-count:].mean())) if len(known) > 1 else None
    drawn = _drawn_curve(tag.removeprefix(f"{_LOSS}/"), list(curve.steps), values.tolist())
    return drawn | {"total": tag == _LOSS, "first": ends and ends[0], "last": ends and ends[1], "trend": trend(ends)}


def trend(ends: tuple[float, float] | None) -> str:
    """Whether a loss fell or rose by a tenth of where it began: "falls", "rises", "stays"; "" while that is not known.

    >>> trend((1.0, 0.5)), trend((1.0, 0.95)), trend((-2.0, -1.0))
    ('falls', 'stays', 'rises')
    """
    if ends is None:
        return ""
    first, last = ends
    least = (1 - FELL) * abs(first)
    return "falls" if last <= first - least and last < first else "rises" if last > first + least else "stays"


def _drawn_curve(name: str, steps: Sequence[int], values: Sequence[float]) -> dict[str, Any]:
    """At most `_MOST_POINTS` means over equal numbers of steps, each at its last step; without what is no number."""
    points = [(step, value) for step, value in zip(steps, values, strict=True) if math.isfinite(value)]
    parts = list(_parts(points))
    return {"name": name, "steps": [part[-1][0] for part in parts],
            "values": [sum(value for _, value in part) / len(part) for part in parts]}  # fmt: skip


def _parts(points: Sequence[tuple[int, float]]) -> Iterator[Sequence[tuple[int, float]]]:
    width = max(1, math.ceil(len(points) / _MOST_POINTS))
    return (points[start : start + width] for start in range(0, len(points), width))
