"""Dynamic World: nine probabilities and a label for each Sentinel-2 scene with at most 35 % cloud.

Labels follow the ground, with errors in patches that differ from scene to scene, so that a year's mode is cleaner.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from sandbox.planet.ground import Ground, M, Surface
from sandbox.planet.lattice import Lattice
from sandbox.planet.noise import hash_int
from sandbox.planet.raster import LazyImage, PlanetBand
from sandbox.planet.scenes import Scene, tile_name
from sandbox.planet.sentinel2 import seen
from sandbox.planet.sky import Clouds
from sandbox.planet.timeline import moment
from sandbox.stored import StoredImage, Valid, Values, Window

COLLECTION = "GOOGLE/DYNAMICWORLD/V1"
CLASSES = (
    "water", "trees", "grass", "flooded_vegetation", "crops", "shrub_and_scrub", "built", "bare", "snow_and_ice",
)  # fmt: skip
_MAX_CLOUD = 35
# By material: the label, the label it is often taken for, and the share of it that is always taken so.
_LABEL = np.array([1, 1, 5, 2, 4, 6, 6, 7, 7, 8, 0, 3, 1, 5, 1], dtype=np.uint8)
_RIVAL = np.array([5, 5, 2, 4, 2, 7, 6, 5, 5, 7, 3, 2, 3, 2, 4], dtype=np.uint8)
_STUBBORN = np.array([1.9, 1.9, 1.1, 1.25, 1.7, 1.8, 9, 1.5, 1.5, 2.2, 3.2, 1.2, 1.2, 1.1, 1.0], dtype=np.float32)


def _usual_and_rival(ground: Ground) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """What most scenes say of each pixel, and what they say when they err (water is never mistaken)."""
    label, rival = _LABEL.take(ground.material), _RIVAL.take(ground.material)
    usual = np.where(ground.fine > _STUBBORN.take(ground.material), rival, label)
    return usual, np.where(ground.material == M["water"], usual, rival)


def is_labelled(scene: Scene, seed: int) -> bool:
    """Whether Dynamic World ran: clear enough, and not in the few tile-years that it lacks."""
    year = moment(scene.start_ms).year
    missing = hash_int(seed, scene.tile.epsg, scene.tile.east, scene.tile.north, year, 41) % 1000 < 25
    return scene.cloudy_percent <= _MAX_CLOUD and not missing


class Labels:
    """Paints labels and probabilities of scenes."""

    def __init__(self, surface: Surface, clouds: Clouds) -> None:
        self._surface = surface
        self._clouds = clouds
        self._seed = surface.seed + 60

    def image(self, scene: Scene) -> StoredImage:
        properties = {
            "system:index": scene.index,
            "system:time_start": scene.start_ms,
            "system:time_end": scene.start_ms,
            "dynamicworld_algorithm_version": "3.5",
            "qa_algorithm_version": "m",
            "MGRS_TILE": tile_name(scene.tile),
        }
        asset_id = f"{COLLECTION}/{properties['system:index']}"
        return LazyImage(asset_id, properties, scene.strip.footprint, partial(self._bands, scene))

    def _bands(self, scene: Scene) -> tuple[PlanetBand, ...]:
        extent = scene.tile.extent(10)
        f32, u8 = np.dtype(np.float32), np.dtype(np.uint8)
        made = [
            PlanetBand(name, f32, extent, partial(self._probability, scene, k, extent.lattice))
            for k, name in enumerate(CLASSES)
        ]
        return (*made, PlanetBand("label", u8, extent, partial(self._label, scene, extent.lattice)))

    def _label(self, scene: Scene, lattice: Lattice, window: Window) -> tuple[Values, Valid | None]:
        ground = self._surface.ground(lattice, window)
        return self._classes(scene, ground), self._valid(scene, lattice, window)

    def _classes(self, scene: Scene, ground: Ground) -> NDArray[np.uint8]:
        usual, rival = ground.derived("dynamic_world", _usual_and_rival)
        passing = self._surface.noise.fine_above(ground.fine_index, scene.key % (1 << 30), 1.35)
        return np.where(passing, rival, usual)

    def _valid(self, scene: Scene, lattice: Lattice, window: Window) -> Valid | None:
        inside = seen(scene.strip, lattice, window)
        cloud = self._clouds.cloud(scene.weather, lattice, window)
        if cloud is None:
            return inside
        clear = cloud < np.float32(0.1)
        return clear if inside is None else clear & inside

    def _probability(self, scene: Scene, number: int, lattice: Lattice, window: Window) -> tuple[Values, Valid | None]:
        ground = self._surface.ground(lattice, window)
        label = self._classes(scene, ground)
        sure = np.float32(0.62) + np.float32(0.06) * np.clip(ground.fine, -3, 3)
        rest = (1 - sure) * np.float32(1 / 8)
        return np.where(label == number, sure, rest), self._valid(scene, lattice, window)
