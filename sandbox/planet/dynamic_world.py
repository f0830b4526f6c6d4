"""Dynamic World: nine probabilities and a label for each Sentinel-2 scene with at most 35 % cloud.

Labels follow the ground, with errors in patches that differ from scene to scene, so that a year's mode is cleaner.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from sandbox.planet.ground import Ground, M, Surface
from sandbox.planet.lattice import Lattice
from sandbox.planet.mgrs import Tile
from sandbox.planet.noise import hash_int
from sandbox.planet.raster import LazyImage, PlanetBand
from sandbox.planet.scenes import Scene, tile_name
from sandbox.planet.sentinel2 import seen
from sandbox.planet.sky import Clouds
from sandbox.planet.timeline import moment
from sandbox.raster.stored import StoredImage, Valid, Values, Vote, Window

Counts = NDArray[np.uint8] | NDArray[np.uint16]

COLLECTION = "GOOGLE/DYNAMICWORLD/V1"
CLASSES = (
    "water", "trees", "grass", "flooded_vegetation", "crops", "shrub_and_scrub", "built", "bare", "snow_and_ice",
)  # fmt: skip
_MAX_CLOUD = 35
_F32, _U8 = np.dtype(np.float32), np.dtype(np.uint8)
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
    return scene.cloudy_percent <= _MAX_CLOUD and not _is_missing(scene.tile, moment(scene.start_ms).year, seed)


@lru_cache(maxsize=4096)
def _is_missing(tile: Tile, year: int, seed: int) -> bool:
    return hash_int(seed, tile.epsg, tile.east, tile.north, year, 41) % 1000 < 25


class Labels:
    """Paints labels and probabilities of scenes."""

    def __init__(self, surface: Surface, clouds: Clouds) -> None:
        self._surface = surface
        self._clouds = clouds
        self._seed = surface.seed + 60

    def images(self, scenes: Sequence[Scene]) -> list[StoredImage]:
        """The images of one query's scenes: those of a tile are painted together when one of them is looked at."""
        rolls: dict[Tile, Roll] = {}
        for scene in scenes:
            rolls.setdefault(scene.tile, Roll(self, [])).scenes.append(scene)
        return [self._image(scene, rolls[scene.tile]) for scene in scenes]

    def _image(self, scene: Scene, roll: Roll) -> StoredImage:
        properties = {
            "system:index": scene.index,
            "system:time_start": scene.start_ms,
            "system:time_end": scene.start_ms,
            "dynamicworld_algorithm_version": "3.5",
            "qa_algorithm_version": "m",
            "MGRS_TILE": tile_name(scene.tile),
        }
        asset_id = f"{COLLECTION}/{properties['system:index']}"
        return LazyImage(asset_id, properties, scene.strip.footprint, partial(self._bands, scene, roll))

    def _bands(self, scene: Scene, roll: Roll) -> tuple[PlanetBand, ...]:
        extent = scene.tile.extent(10)
        made = [
            PlanetBand(name, _F32, extent, partial(self._probability, scene, k, roll, extent.lattice))
            for k, name in enumerate(CLASSES)
        ]
        label = partial(roll.label, scene, extent.lattice)
        return (*made, PlanetBand("label", _U8, extent, label, Vote(roll, scene)))

    def _probability(
        self, scene: Scene, number: int, roll: Roll, lattice: Lattice, window: Window
    ) -> tuple[Values, Valid | None]:
        label, valid = roll.label(scene, lattice, window)
        ground = self._surface.ground(lattice, window)
        sure = np.float32(0.62) + np.float32(0.06) * np.clip(ground.fine, -3, 3)
        rest = (1 - sure) * np.float32(1 / 8)
        return np.where(label == number, sure, rest), valid

    def paint(self, scenes: Sequence[Scene], lattice: Lattice, window: Window) -> list[tuple[Values, Valid | None]]:
        """Labels and what is seen of the ground, for scenes of one tile."""
        usual, rival = self._surface.ground(lattice, window).derived("dynamic_world", _usual_and_rival)
        return [(np.where(errs, rival, usual), valid) for errs, valid in self._looks(scenes, lattice, window)]

    def counts(self, scenes: Sequence[Scene], lattice: Lattice, window: Window) -> Counts:
        """How many scenes say each class, (9, height, width): each says what is usual at a pixel, or its rival."""
        usual, rival = self._surface.ground(lattice, window).derived("dynamic_world", _usual_and_rival)
        counter = np.uint8 if len(scenes) < 256 else np.uint16
        erring, looking = np.zeros(usual.shape, counter), np.zeros(usual.shape, counter)
        for errs, valid in self._looks(scenes, lattice, window):
            erring += (errs if valid is None else errs & valid).view(np.uint8)
            looking += counter(1) if valid is None else valid.view(np.uint8)
        agreeing = looking - erring
        counts = np.empty((len(CLASSES), *usual.shape), counter)
        for label, out in enumerate(counts):
            np.multiply(agreeing, (usual == label).view(np.uint8), out=out)
            out += erring * (rival == label).view(np.uint8)
        return counts

    def _looks(self, scenes: Sequence[Scene], lattice: Lattice, window: Window) -> Iterator[tuple[Valid, Valid | None]]:
        """Where each scene of one tile says the rival, and what it sees of the ground (None: all)."""
        ground = self._surface.ground(lattice, window)
        clear = self._clouds.clear([scene.weather for scene in scenes], lattice, window)
        strips = {scene.strip.orbit: scene.strip for scene in scenes}
        inside = {orbit: seen(strip, lattice, window) for orbit, strip in strips.items()}
        for scene, cloudless in zip(scenes, clear, strict=True):
            errs = self._surface.noise.fine_above(ground.fine_index, scene.key % (1 << 30), 1.35)
            yield errs, _both(inside[scene.strip.orbit], cloudless)


def _both(one: Valid | None, other: Valid | None) -> Valid | None:
    """Where both are true; None is true everywhere."""
    if one is None or other is None:
        return one if other is None else other
    return one & other


@dataclass(eq=False)
class Roll:
    """Scenes of one tile and what was painted of them, for the latest window: a year's mode looks at all of them.

    Painting them at once shares the noise's overhead; each scene's pixels are the same as if painted alone.
    """

    labels: Labels
    scenes: list[Scene]
    _window: tuple[Lattice, Window] | None = None
    _painted: dict[int, tuple[Values, Valid | None]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def counts(self, voters: Sequence[Scene], window: Window) -> Counts:
        """How many of these scenes' labels say each class, by class; the window counts from the tile's corner."""
        extent = voters[0].tile.extent(10)
        part = extent.part(window)
        if part is None:
            return np.zeros((len(CLASSES), window.height, window.width), np.uint8)
        return part.placed(self.labels.counts(voters, extent.lattice, part.inside), window)

    def label(self, scene: Scene, lattice: Lattice, window: Window) -> tuple[Values, Valid | None]:
        """Labels (height, width) of one scene, and which are data (None: all)."""
        with self._lock:
            if self._window != (lattice, window):
                painted = self.labels.paint(self.scenes, lattice, window)
                self._painted = {item.key: layer for item, layer in zip(self.scenes, painted, strict=True)}
                self._window = (lattice, window)
            return self._painted[scene.key]
