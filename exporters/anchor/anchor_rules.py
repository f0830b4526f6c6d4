"""Which scenes may serve a location, and what chance decides for it before anything is asked."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from exporters import scenes
from pipeline.errors import Fatal
from pipeline.grid import LATTICE_M

_MARGIN_M = 100.0  # snapping to the lattice, the scale of UTM off its meridian, and a disc drawn as a polygon


@dataclass(frozen=True)
class AnchorRules:
    """Which scenes may serve. Part files and choices depend on everything here but `batch`.

    A grid is in its scene's UTM zone, so that pixels stay as they are; with `own_zone` in the location's, so that
    tiles that were laid side by side stay so where a scene of the neighbouring zone serves one of them.
    """

    years: tuple[int, ...] = (2017, 2018, 2019, 2020)
    max_cloud_percent: float = 10.0
    levels: tuple[str, ...] = ("l2a", "l1c")
    orbit_window_days: float = 30.0
    size_px: int = 128
    batch: int = 200
    seed: int = 0
    own_zone: bool = False

    def __post_init__(self) -> None:
        strange = sorted(set(self.levels) - set(scenes.OPTICAL))
        if strange or not self.levels:
            raise Fatal(f"anchor.levels must be some of {', '.join(scenes.OPTICAL)}, not {list(self.levels)}.")
        if not self.years or self.batch < 1 or self.size_px < 1:
            raise Fatal("anchor.years must not be empty, and anchor.batch and size_px must be at least 1.")

    @property
    def reach_m(self) -> float:
        """Radius around a location that a scene must cover: the chip's corner, with a margin."""
        return self.size_px * LATTICE_M / math.sqrt(2) + _MARGIN_M


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
        ordered = sorted(candidates, key=lambda candidate: candidate.index)
        return ordered[int(self.place * len(ordered))]
