"""How long work tells whoever started it where it stands."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives progress; safe to call from many threads."""

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """A stage of `total` units begins, `done` of which an earlier run finished."""

    def advance(self, count: int = 1) -> None:
        """`count` more units of the current stage are finished."""

    def note(self, **figures: float | str) -> None:
        """Figures worth showing beside the bar, such as requests_per_chip=1.01."""

    def say(self, sentence: str) -> None:
        """Something that a person should know and that stays readable, such as what was left out and why."""


class Silent:
    """Progress for callers who do not look."""

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """Ignore it."""

    def advance(self, count: int = 1) -> None:
        """Ignore it."""

    def note(self, **figures: float | str) -> None:
        """Ignore them."""

    def say(self, sentence: str) -> None:
        """Ignore it."""
