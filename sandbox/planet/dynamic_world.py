"""Dynamic World: nine probabilities and a label for each Sentinel-2 scene with at most 35 % cloud.

Labels follow the ground, with errors in patches that differ between scenes, so the mode of a year has fewer errors.
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
from sandbox.planet.raster import LazyBands, LazyImage, PlanetBand
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
# By material: the label, the label it is often confused with, and the texture above which it always is.
_LABEL = np.array([1, 1, 5, 2, 4, 6, 6, 7, 7, 8, 0, 3, 1, 5, 1], dtype=np.uint8)
_RIVAL = np.array([5, 5, 2, 4, 2, 7, 6, 5, 5, 7, 3, 2, 3, 2, 4], dtype=np.uint8)
_STUBBORN = np.array([1.9, 1.9, 1.1, 1.25, 1.7, 1.8, 9, 1.5, 1.5, 2.2, 3.2, 1.2, 1.2, 1.1, 1.0], dtype=np.float32)


def _usual_and_rival(ground: Ground) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The usual label and its rival, the label of a scene in error, at each pixel (for water both are the same)."""
    label, rival = _LABEL.take(ground.material), _RIVAL.take(ground.material)
    usual = np.where(ground.fine > _STUBBORN.take(ground.material), rival, label)
    return usual, np.where(ground.material == M["water"], usual, rival)


def is_labelled(scene: Scene, seed: int) -> bool:
    """Whether the scene has a Dynamic World image: it is clear enough, and its tile-year is not an absent one."""
    return scene.cloudy_percent <= _MAX_CLOUD and not _is_absent(scene.tile, moment(scene.start_ms).year, seed)


@lru_cache(maxsize=4096)
def _is_absent(tile: Tile, year: int, seed: int) -> bool:
    return hash_int(seed, tile.epsg, tile.east, tile.north, year, 41) % 1000 < 25


class Labels:
    """Paints labels and probabilities of scenes."""

    def __init__(self, surface: Surface, clouds: Clouds) -> None:
        self._surface = surface
        self._clouds = clouds
        self._seed = surface.seed + 60

    def images(self, scenes: Sequence[Scene]) -> list[StoredImage]:
        """The images of one query's scenes. The scenes of a tile are painted together when one of them is read."""
        by_tile: dict[Tile, TileLabels] = {}
        for scene in scenes:
            by_tile.setdefault(scene.tile, TileLabels(self, [])).scenes.append(scene)
        return [self._image(scene, by_tile[scene.tile]) for scene in scenes]

    def _image(self, scene: Scene, tile_labels: TileLabels) -> StoredImage:
        properties = {
            "system:index": scene.index,
            "system:time_start": scene.start_ms,
            "system:time_end": scene.start_ms,
            "dynamicworld_algorithm_version": "3.5",
            "qa_algorithm_version": "m",
            "MGRS_TILE": tile_name(scene.tile),
        }
        asset_id = f"{COLLECTION}/{properties['system:index']}"
        return LazyImage(asset_id, properties, scene.strip.footprint, partial(self._bands, scene, tile_labels))

    def _bands(self, scene: Scene, tile_labels: TileLabels) -> LazyBands:
        return LazyBands((*CLASSES, "label"), partial(self._band, scene, tile_labels))

    def _band(self, scene: Scene, tile_labels: TileLabels, number: int) -> PlanetBand:
        extent = scene.tile.extent(10)
        if number == len(CLASSES):
            label = partial(tile_labels.label, scene, extent.lattice)
            return PlanetBand("label", _U8, extent, label, Vote(tile_labels, scene), "mode")
        paint = partial(self._probability, scene, number, tile_labels, extent.lattice)
        return PlanetBand(CLASSES[number], _F32, extent, paint)

    def _probability(
        self, scene: Scene, number: int, tile_labels: TileLabels, lattice: Lattice, window: Window
    ) -> tuple[Values, Valid | None]:
        label, valid = tile_labels.label(scene, lattice, window)
        ground = self._surface.ground(lattice, window)
        certainty = np.float32(0.62) + np.float32(0.06) * np.clip(ground.fine, -3, 3)
        others = (1 - certainty) * np.float32(1 / 8)
        return np.where(label == number, certainty, others), valid

    def paint(self, scenes: Sequence[Scene], lattice: Lattice, window: Window) -> list[tuple[Values, Valid | None]]:
        """Labels (height, width) uint8 and the valid mask (None: all valid), for scenes of one tile."""
        usual, rival = self._surface.ground(lattice, window).derived("dynamic_world", _usual_and_rival)
        return [
            (np.where(is_rival, rival, usual), valid) for is_rival, valid in self._observations(scenes, lattice, window)
        ]

    def counts(self, scenes: Sequence[Scene], lattice: Lattice, window: Window) -> Counts:
        """How many scenes have each class, (9, height, width) uint8 or uint16: the usual label or its rival."""
        usual, rival = self._surface.ground(lattice, window).derived("dynamic_world", _usual_and_rival)
        counter = np.uint8 if len(scenes) < 256 else np.uint16
        rival_count, observed = np.zeros(usual.shape, counter), np.zeros(usual.shape, counter)
        for is_rival, valid in self._observations(scenes, lattice, window):
            rival_count += (is_rival if valid is None else is_rival & valid).view(np.uint8)
            observed += counter(1) if valid is None else valid.view(np.uint8)
        usual_count = observed - rival_count
        counts = np.empty((len(CLASSES), *usual.shape), counter)
        for label, out in enumerate(counts):
            np.multiply(usual_count, (usual == label).view(np.uint8), out=out)
            out += rival_count * (rival == label).view(np.uint8)
        return counts

    def _observations(
        self, scenes: Sequence[Scene], lattice: Lattice, window: Window
    ) -> Iterator[tuple[Valid, Valid | None]]:
        """For each scene of one tile: where its label is the rival, and which pixels it sees (None: all)."""
        ground = self._surface.ground(lattice, window)
        clear = self._clouds.clear([scene.weather for scene in scenes], lattice, window)
        strips = {scene.strip.orbit: scene.strip for scene in scenes}
        inside = {orbit: seen(strip, lattice, window) for orbit, strip in strips.items()}
        for scene, cloudless in zip(scenes, clear, strict=True):
            is_rival = self._surface.noise.fine_above(ground.fine_index, scene.key % (1 << 30), 1.35)
            yield is_rival, _both(inside[scene.strip.orbit], cloudless)


def _both(first: Valid | None, second: Valid | None) -> Valid | None:
    """Where both are true; None is true everywhere."""
    if first is None or second is None:
        return first if second is None else second
    return first & second


@dataclass(eq=False)
class TileLabels:
    """Scenes of one tile with their labels in the latest window: the mode of a year reads all of them.

    Painting them together shares the overhead of the noise; each scene's pixels are the same as if painted alone.
    """

    labels: Labels
    scenes: list[Scene]
    _window: tuple[Lattice, Window] | None = None
    _painted: dict[int, tuple[Values, Valid | None]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def counts(self, scenes: Sequence[Scene], window: Window) -> Counts:
        """How many of these scenes have each class, (9, height, width); the window is relative to the tile's corner."""
        extent = scenes[0].tile.extent(10)
        part = extent.part(window)
        if part is None:
            return np.zeros((len(CLASSES), window.height, window.width), np.uint8)
        return window.placed(self.labels.counts(scenes, extent.lattice, extent.on_lattice(part)), part)

    def label(self, scene: Scene, lattice: Lattice, window: Window) -> tuple[Values, Valid | None]:
        """Labels (height, width) uint8 of one scene, and the valid mask (None: all valid)."""
        with self._lock:
            if self._window != (lattice, window):
                painted = self.labels.paint(self.scenes, lattice, window)
                self._painted = {item.key: layer for item, layer in zip(self.scenes, painted, strict=True)}
                self._window = (lattice, window)
            return self._painted[scene.key]
