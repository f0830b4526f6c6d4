"""Which scenes may serve a location, and what chance decides for it before anything is asked."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from exporters.anchor.scene_rules import AnchorRules as AnchorRules  # the name by which it is imported


@dataclass(frozen=True)
class Candidate:
    """An image that would do: system:index, system:time_start in milliseconds, MGRS tile ("" for radar)."""

    index: str
    time_ms: float
    tile: str = ""

    @property
    def year(self) -> int:
        """Calendar year (UTC)."""
        return datetime.fromtimestamp(self.time_ms / 1000, tz=UTC).year


@dataclass(frozen=True)
class Anchor:
    """An optical scene that may serve, and its level."""

    level: str
    scene: Candidate


@dataclass(frozen=True)
class Draw:
    """What chance decides for a location, before anything is asked: so no answer or order can change it.

    Years and levels are in order of preference: the first that has a scene serves.
    """

    years: tuple[int, ...]
    levels: tuple[str, ...]
    place: float

    @classmethod
    def of(cls, location_id: str, rules: AnchorRules) -> Draw:
        """Drawn from the seed and the location's id alone."""
        digest = hashlib.sha256(f"{rules.seed}/{location_id}".encode()).digest()
        chance = random.Random(int.from_bytes(digest[:8], "big"))  # noqa: S311 - a reproducible choice
        years, levels = sorted(set(rules.years)), sorted(rules.levels)
        chance.shuffle(years)
        chance.shuffle(levels)
        return cls(tuple(years), tuple(levels), chance.random())

    def choose(self, candidates: Sequence[Candidate]) -> Candidate:
        """One of the candidates, whatever order they came in."""
        return self.ranked(candidates)[0]

    def ranked(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """All of them: the one that is chosen, those behind it, and round to those before it."""
        ordered = sorted(candidates, key=lambda candidate: candidate.index)
        first = int(self.place * len(ordered))
        return ordered[first:] + ordered[:first]
