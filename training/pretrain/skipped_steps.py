"""The steps of a run whose update was skipped, because their loss or gradients were not finite."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FILE = "bad-batch-step-{:08d}.pt"
_FILES_KEPT = 20  # of a run: a batch is hundreds of megabytes, and a bad chip comes back in every epoch
_ROWS_SHOWN = 5


@dataclass(frozen=True)
class SkippedStep:
    """Step `step` (counted from 1) changed no weight; `cause` is why, and `rows` are the manifest rows to look at."""

    step: int
    rows: tuple[int, ...]
    cause: str

    @property
    def where(self) -> str:
        """The step and its first rows, as text."""
        shown = ", ".join(map(str, self.rows[:_ROWS_SHOWN]))
        more = len(self.rows) - _ROWS_SHOWN
        return f"step {self.step} ({'row' if len(self.rows) == 1 else 'rows'} {shown}" + (
            f" and {more} more)" if more > 0 else ")"
        )


@dataclass
class SkippedSteps:
    """All of them, oldest first; a part of every checkpoint."""

    steps: list[SkippedStep] = field(default_factory=list)

    def add(self, step: SkippedStep) -> None:
        """Record one more."""
        self.steps.append(step)

    def in_a_row(self, step: int) -> int:
        """How many steps in a row, the last of them `step`, were skipped."""
        known, count = {item.step for item in self.steps}, 0
        while step - count in known:
            count += 1
        return count

    def file_of(self, step: int) -> str:
        """The name of the file that keeps the chips of the next skipped step; empty when enough are kept."""
        return FILE.format(step) if len(self.steps) < _FILES_KEPT else ""

    def state(self) -> list[dict[str, Any]]:
        """For a checkpoint."""
        return [asdict(item) for item in self.steps]

    def restore(self, state: Iterable[Mapping[str, Any]]) -> None:
        """Go on from `state`."""
        self.steps = [SkippedStep(item["step"], tuple(item["rows"]), item["cause"]) for item in state]


def kept_in(path: Path | None) -> str:
    """Where chips are kept, as the end of a sentence."""
    return f"the chips are kept in {path}" if path else f"the chips of the first {_FILES_KEPT} such steps are kept"
