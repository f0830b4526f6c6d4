"""Chips that could not be pulled, and why: one small file per shard with a failure, removed when it is finished."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline import durable, fence
from pipeline.shard import Shard

FAILED = "failed"


@dataclass(frozen=True)
class DeadLetter:
    """One chip that was given up: its manifest row and location, the layers it lacks, the error's kind and text."""

    row: int
    location: str
    lonlat: tuple[float, float]
    layers: tuple[str, ...]
    error: str
    reason: str


class DeadLetters:
    """The letters below one folder: `<shard>.json`, in the order of rows. They hold no times."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:05d}.json"

    def record(self, shard: Shard, letters: Sequence[DeadLetter]) -> None:
        """Replace the letters of a shard; without letters its file is removed.

        Raises `Fatal` when the folder cannot be written to.
        """
        if letters:
            ordered = sorted(letters, key=lambda letter: letter.row)
            durable.write_json(self._path(shard.index), [asdict(letter) for letter in ordered])
            return
        fence.check()
        self._path(shard.index).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def read(self) -> list[DeadLetter]:
        """All letters, by row; raises `Fatal` for a damaged file."""
        return [letter for path in sorted(self.folder.glob("[0-9]*.json")) for letter in _letters(path)]


def _letters(path: Path) -> list[DeadLetter]:
    if not path.exists():
        return []  # an active run has finished the shard in between
    return durable.read_as(path, list[DeadLetter], "delete it and export again")
