"""Dynamic World: nine probabilities and a label for each Sentinel-2 scene with at most 35 % cloud.

Labels follow the ground, with errors in patches that differ between scenes, so the mode of a year has fewer errors.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from sandbox.planet.ground import Ground, Surface
from sandbox.planet.lattice import Lattice
from sandbox.planet.materials import M
from sandbox.planet.mgrs import Tile
from sandbox.planet.noise import Bits, hash_int
from sandbox.planet.raster import LazyBands, LazyImage, PlanetBand
from sandbox.planet.recent import Recent
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
MAX_CLOUD = 35
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
    return scene.cloudy_percent <= MAX_CLOUD and not _is_absent(scene.tile, moment(scene.start_ms).year, seed)


@lru_cache(maxsize=4096)
def _is_absent(tile: Tile, year: int, seed: int) -> bool:
    return hash_int(seed, tile.epsg, tile.east, tile.north, year, 41) % 1000 < 25


class Labels:
    """Paints labels and probabilities of scenes."""

    def __init__(self, surface: Surface, clouds: Clouds) -> None:
        self._surface = surface
        self._clouds = clouds
        self._seed = surface.seed + 60
        self._alone: Recent[tuple[Values, Valid | None]] = Recent(16, 1 << 20)

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

    def alone(self, scene: Scene, lattice: Lattice, window: Window) -> tuple[Values, Valid | None]:
        """As `paint` of one scene, shared by its bands for a while: a service may hold many such images."""
        key = (scene.key, lattice)
        found = self._alone.around(key, window)
        if found is not None and found[0] == window:
            return found[1]
        return self._alone.keep(key, window, self.paint([scene], lattice, window)[0])

    def paint(self, scenes: Sequence[Scene], lattice: Lattice, window: Window) -> list[tuple[Values, Valid]]:
        """Labels (height, width) uint8 and the valid mask, for scenes of one tile."""
        is_rival, (usual, rival) = self._rivals(lattice, window), self._labels(lattice, window)
        return [
            (np.where(is_rival(scene), rival, usual), np.full(usual.shape, valid))
            for scene, valid in zip(scenes, self._seen(scenes, lattice, window), strict=True)
        ]

    def counts(self, scenes: Sequence[Scene], lattice: Lattice, window: Window) -> list[tuple[Values, Counts]]:
        """The usual label and its rival, (height, width) uint8 each, and how many scenes have them."""
        is_rival, labels = self._rivals(lattice, window), self._labels(lattice, window)
        counter = np.uint8 if len(scenes) < 256 else np.uint16
        usual, rival = np.zeros((2, *labels[0].shape), counter)
        for scene, valid in zip(scenes, self._seen(scenes, lattice, window), strict=True):
            if valid is not False:
                usual += counter(1) if valid is True else valid.view(np.uint8)
                rival += (is_rival(scene) & valid).view(np.uint8)
        usual -= rival
        return list(zip(labels, (usual, rival), strict=True))

    def _labels(self, lattice: Lattice, window: Window) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        return self._surface.ground(lattice, window).derived("dynamic_world", _usual_and_rival)

    def _rivals(self, lattice: Lattice, window: Window) -> Callable[[Scene], Valid]:
        """Where the label of a scene is the rival."""
        bits = self._surface.ground(lattice, window).derived("bits", lambda ground: Bits.of(ground.fine_index))
        return lambda scene: self._surface.noise.fine_above(bits, scene.key % (1 << 30), 1.35)

    def _seen(self, scenes: Sequence[Scene], lattice: Lattice, window: Window) -> Iterator[Valid | bool]:
        """Which pixels each scene of one tile sees: an array, or one bool for all of them."""
        clear = self._clouds.clear([scene.weather for scene in scenes], lattice, window)
        strips = {scene.strip.orbit: scene.strip for scene in scenes}
        inside = {orbit: seen(strip, lattice, window) for orbit, strip in strips.items()}
        for scene, cloudless in zip(scenes, clear, strict=True):
            strip = inside[scene.strip.orbit]
            yield cloudless if strip is None or cloudless is False else strip & cloudless


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

    def counts(self, scenes: Sequence[Scene], window: Window) -> list[tuple[Values, Counts]]:
        """Two labels (height, width) and how many scenes have each; the window is from the tile's corner on."""
        extent = scenes[0].tile.extent(10)
        part = extent.part(window)
        if part is None:
            nothing = np.zeros((window.height, window.width), np.uint8)
            return [(nothing, nothing)]
        counted = self.labels.counts(scenes, extent.lattice, extent.on_lattice(part))
        return [(window.placed(labels, part), window.placed(counts, part)) for labels, counts in counted]

    def label(self, scene: Scene, lattice: Lattice, window: Window) -> tuple[Values, Valid | None]:
        """Labels (height, width) uint8 of one scene, and the valid mask (None: all valid)."""
        if len(self.scenes) == 1:
            return self.labels.alone(scene, lattice, window)
        with self._lock:
            if self._window != (lattice, window):
                painted = self.labels.paint(self.scenes, lattice, window)
                self._painted = {item.key: layer for item, layer in zip(self.scenes, painted, strict=True)}
                self._window = (lattice, window)
            return self._painted[scene.key]
