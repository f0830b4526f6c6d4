"""Which scenes may serve a location: the defaults of the `[anchor]` settings are here."""

from __future__ import annotations

import math
from dataclasses import dataclass

from exporters import scenes
from pipeline.errors import Fatal
from pipeline.sizes import CHIP_PX

_MARGIN_M = 100.0  # snapping to the lattice, the scale of UTM off its meridian, and a disc drawn as a polygon


@dataclass(frozen=True)
class AnchorRules:
    """Which scenes may serve. Part files and choices depend on everything here but `batch`.

    `max_chip_cloud_percent` limits the clouds over the chip itself: of the scenes that may serve, the first that is
    clear enough there does. None asks nothing.

    A place with a date of its own takes the scene nearest to it, at most `date_window_days` away, of any year.

    A grid is in its scene's UTM zone, so that pixels stay as they are; with `own_zone` in the location's, so that
    tiles that were laid side by side stay so where a scene of the neighbouring zone serves one of them.
    """

    years: tuple[int, ...] = (2017, 2018, 2019, 2020)
    max_cloud_percent: float = 10.0
    levels: tuple[str, ...] = ("l2a", "l1c")
    orbit_window_days: int = 30
    size_px: int = CHIP_PX
    batch: int = 200
    seed: int = 0
    own_zone: bool = False
    date_window_days: int = 30
    max_chip_cloud_percent: float | None = None

    def __post_init__(self) -> None:
        strange = sorted(set(self.levels) - set(scenes.OPTICAL))
        if strange or not self.levels:
            raise Fatal(f"anchor.levels must be some of {', '.join(scenes.OPTICAL)}, not {list(self.levels)}.")
        if not self.years or self.batch < 1 or self.size_px < 1:
            raise Fatal("anchor.years must not be empty, and anchor.batch and size_px must be at least 1.")

    @property
    def reach_m(self) -> float:
        """Radius around a location that a scene must cover: the chip's corner, with a margin."""
        from pipeline.grid import LATTICE_M  # Here, as its geometry libraries are slow to come and settings are not.

        return self.size_px * LATTICE_M / math.sqrt(2) + _MARGIN_M
