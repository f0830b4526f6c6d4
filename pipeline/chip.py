"""A chip: a location, the scenes it is pinned to, and its pixel grid; one row of the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pipeline.grid import Grid
from pipeline.location import Location
from pipeline.observed import ROLES as ROLES  # the name by which it is imported

LEVELS = ("l1c", "l2a")  # of processing


@dataclass(frozen=True)
class Scene:
    """A catalogue image that a chip is pinned to: its full asset id and its sensing time (UTC)."""

    asset_id: str
    time: datetime

    @classmethod
    def at_ms(cls, asset_id: str, time_ms: float) -> Scene:
        """From Earth Engine's `system:time_start`, milliseconds since 1970."""
        return cls(asset_id, datetime.fromtimestamp(round(time_ms) / 1000, tz=UTC))


@dataclass(frozen=True)
class Acquisition:
    """The scenes of a location: the optical anchor with its processing level, and radar scenes by orbit pass.

    `level` is "l1c" or "l2a". A pass without a scene near the anchor is None.
    """

    anchor: Scene
    level: str
    ascending: Scene | None = None
    descending: Scene | None = None

    @property
    def date(self) -> datetime:
        """The anchor's sensing time (UTC); every time rule counts from it."""
        return self.anchor.time


@dataclass(frozen=True)
class Chip:
    """Everything that decides a chip's pixels. `row` is its row in the frozen manifest, or -1 before freezing.

    `own` holds what the owner's table of places says about it, by column: int, float, bool, str, date, datetime (UTC),
    bytes (an outline as WKB, degrees), or None.
    """

    location: Location
    grid: Grid
    acquisition: Acquisition
    split: str = "train"
    row: int = -1
    own: Mapping[str, Any] = field(default_factory=dict, hash=False)
