"""Cloud Score+ of Sentinel-2 scenes: how clear each pixel is, from 0 (cloud) to 1, after the planet's own clouds."""

from __future__ import annotations

from functools import partial

import numpy as np

from sandbox.planet.lattice import Lattice
from sandbox.planet.raster import LazyImage, PlanetBand
from sandbox.planet.scenes import Scene, properties_of
from sandbox.planet.sentinel2 import Painter
from sandbox.raster.stored import StoredImage, Valid, Values, Window

COLLECTION = "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"
_PIXEL_M = 10
_KEPT = ("system:index", "system:time_start", "system:time_end", "MGRS_TILE")


def image(painter: Painter, scene: Scene) -> StoredImage:
    """The scores of a scene, with the system:index of the scene itself; both bands are the same."""
    known = properties_of(scene, "1C")
    properties = {name: known[name] for name in _KEPT if name in known}
    return LazyImage(f"{COLLECTION}/{known['system:index']}", properties, scene.strip.footprint,
                     partial(_bands, painter, scene))  # fmt: skip


def _bands(painter: Painter, scene: Scene) -> tuple[PlanetBand, ...]:
    extent = scene.tile.extent(_PIXEL_M)
    paint = partial(_score, painter, scene, extent.lattice)
    return tuple(PlanetBand(name, np.dtype(np.float32), extent, paint) for name in ("cs", "cs_cdf"))


def _score(painter: Painter, scene: Scene, lattice: Lattice, window: Window) -> tuple[Values, Valid | None]:
    light = painter.light(scene, lattice, window)
    score = np.ones((window.height, window.width), np.float32)
    if light.sky.shadow is not None:
        score -= np.float32(0.8) * light.sky.shadow
    if light.sky.cloud is not None:
        score = np.minimum(score, 1 - np.sqrt(light.sky.cloud))
    return score, light.valid
