"""Pixels of Sentinel-2 scenes: reflectance from ground, season, illumination and clouds; cloud layers."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sandbox.planet.ground import Ground, Surface
from sandbox.planet.lattice import Lattice
from sandbox.planet.materials import M
from sandbox.planet.passes import Strip
from sandbox.planet.raster import LazyImage, PlanetBand
from sandbox.planet.scenes import Scene, properties_of
from sandbox.planet.season import phase_after_midwinter, season_of
from sandbox.planet.sky import Clouds, Sky
from sandbox.planet.spectra import BANDS, DRY, GAIN, GRAIN, INDEX, SNOW, add_atmosphere, cloud_reflectance
from sandbox.planet.timeline import day_of, year_phase
from sandbox.raster.stored import StoredImage, Valid, Values, Window

F32 = NDArray[np.float32]

L1C, L2A = "COPERNICUS/S2_HARMONIZED", "COPERNICUS/S2_SR_HARMONIZED"
_PIXEL_M = {
    "B1": 60, "B2": 10, "B3": 10, "B4": 10, "B5": 20, "B6": 20, "B7": 20, "B8": 10, "B8A": 20, "B9": 60, "B10": 60,
    "B11": 20, "B12": 20,
}  # fmt: skip
_U8, _U16, _U32 = np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.uint32)
_NO_QA60 = (day_of(2022, 1, 25), day_of(2024, 2, 28))
_SCL = np.array([4, 4, 4, 4, 4, 5, 5, 5, 5, 11, 6, 4, 4, 5, 4], dtype=np.uint8)


_Layer = Callable[[Scene, Lattice, Window], tuple[Values, Valid | None]]


@dataclass(frozen=True)
class Light:
    """The fields that all bands of a scene share in a window, (height, width) each: see `Painter`."""

    ground: Ground
    green: F32
    snow: F32 | None
    shade: F32
    sky: Sky
    valid: Valid | None

    @cached_property
    def cover(self) -> tuple[F32, F32, F32] | None:
        """Of clouds: how bright each pixel is for its band, then with its opacity, and what share of it they are."""
        cloud = self.sky.cloud
        if cloud is None:
            return None
        return 1 + np.float32(0.05) * self.ground.fine, 0.45 + 0.55 * cloud, np.sqrt(cloud)


class Painter:
    """Paints the bands of scenes. The fields that bands share are cached for the latest windows. Thread-safe."""

    def __init__(self, surface: Surface, clouds: Clouds) -> None:
        self._surface = surface
        self._clouds = clouds
        self._lights: OrderedDict[tuple[int, str, Lattice, Window], Light] = OrderedDict()
        self._lock = threading.Lock()

    def image(self, scene: Scene, level: str) -> StoredImage:
        """The scene as Earth Engine's asset of level "1C" or "2A"; the caller checks that the level exists."""
        properties = properties_of(scene, level)
        asset_id = f"{L1C if level == '1C' else L2A}/{properties['system:index']}"
        return LazyImage(asset_id, properties, scene.strip.footprint, partial(self.bands, scene, level))

    def bands(self, scene: Scene, level: str) -> tuple[PlanetBand, ...]:
        """Bands in Earth Engine's order; Level 2A has no B10 and may lack MSK_CLDPRB."""
        result = [self._optical(scene, level, name) for name in BANDS if level == "1C" or name != "B10"]
        if level == "2A":
            result.append(self._layer(scene, "AOT", 10, _U16, self._aerosol))
            result.append(self._layer(scene, "WVP", 10, _U16, self._vapour))
            result.append(self._layer(scene, "SCL", 20, _U8, self._scl))
            if scene.has_cloud_probability:
                result.append(self._layer(scene, "MSK_CLDPRB", 20, _U8, self._cloud_percent))
        result.append(self._layer(scene, "QA60", 60, _U16, self._qa60))
        return tuple(result)

    def _optical(self, scene: Scene, level: str, name: str) -> PlanetBand:
        extent = scene.tile.extent(_PIXEL_M[name])
        paint = partial(self._reflectance, scene, level, INDEX[name], extent.lattice)
        return PlanetBand(name, _U16, extent, paint)

    def _layer(self, scene: Scene, name: str, pixel_m: int, dtype: np.dtype[Any], how: _Layer) -> PlanetBand:
        extent = scene.tile.extent(pixel_m)
        policy = "mode" if name == "SCL" else "sample" if name == "QA60" else "mean"
        return PlanetBand(name, dtype, extent, partial(how, scene, extent.lattice), pyramid=policy)

    def light(self, scene: Scene, lattice: Lattice, window: Window) -> Light:
        key = (scene.key, scene.satellite, lattice, window)
        with self._lock:
            light = self._lights.get(key)
        if light is None:
            light = self._light(scene, lattice, window)
            with self._lock:
                self._lights[key] = light
                while len(self._lights) > 24:
                    self._lights.popitem(last=False)
        return light

    def _light(self, scene: Scene, lattice: Lattice, window: Window) -> Light:
        ground = self._surface.ground(lattice, window)
        southern = scene.tile.epsg >= 32700
        season = season_of(ground, phase_after_midwinter(year_phase(scene.start_ms), southern))
        sky = self._clouds.sky(scene.weather, lattice, window)
        towards_sun = np.float32(-1.0 if southern else 1.0)
        # At 10:30 the sun is in the south-east (in the southern hemisphere in the north-east).
        shade = 1 - np.float32(0.45) * ground.east
        shade += np.float32(0.75) * towards_sun * ground.north
        np.clip(shade, 0.25, 1.6, out=shade)
        shade *= ground.derived("tone", self._tone)
        shade *= ground.derived("parcel tone", _parcel_tone)
        if sky.shadow is not None:
            shade *= 1 - np.float32(0.62) * sky.shadow
        return Light(ground, season.green, season.snow, shade, sky, seen(scene.strip, lattice, window))

    def _tone(self, ground: Ground) -> F32:
        texture = np.float32(0.6) * self._surface.noise.grain(ground.fine_index, self._surface.seed)
        texture += np.float32(0.8) * ground.fine
        texture *= GRAIN.take(ground.material)
        texture += 1
        return texture

    def _reflectance(
        self, scene: Scene, level: str, band: int, lattice: Lattice, window: Window
    ) -> tuple[Values, Valid | None]:
        light = self.light(scene, lattice, window)
        values = GAIN[band].take(light.ground.material)
        values *= light.green
        values += DRY[band].take(light.ground.material)
        if light.snow is not None:
            values += (SNOW[band] - values) * light.snow
        values *= light.shade
        if level == "1C":
            add_atmosphere(values, band)
        if light.cover is not None:
            glow, opacity, share = light.cover
            cloud = np.float32(cloud_reflectance(band, level == "2A")) * glow
            cloud *= opacity
            cloud -= values
            cloud *= share
            values += cloud
        values *= 10_000
        return np.clip(values, 1, 28_000, out=values).astype(np.uint16), light.valid

    def _cloud(self, scene: Scene, lattice: Lattice, window: Window) -> F32:
        cloud = self.light(scene, lattice, window).sky.cloud
        return np.zeros((window.height, window.width), np.float32) if cloud is None else cloud

    def _scl(self, scene: Scene, lattice: Lattice, window: Window) -> tuple[Values, Valid | None]:
        light = self.light(scene, lattice, window)
        scl = _SCL.take(light.ground.material)
        scl[(scl == 4) & (light.green < 0.33)] = 5
        if light.snow is not None:
            scl[light.snow > 0.5] = 11
        if light.sky.shadow is not None:
            scl[light.sky.shadow > 0.3] = 3
        if light.sky.cloud is not None:
            scl[light.sky.cloud > 0.12] = 10
            scl[light.sky.cloud > 0.25] = 8
            scl[light.sky.cloud > 0.5] = 9
        return scl, light.valid

    def _cloud_percent(self, scene: Scene, lattice: Lattice, window: Window) -> tuple[Values, Valid | None]:
        light = self.light(scene, lattice, window)
        percent = np.round(np.sqrt(self._cloud(scene, lattice, window)) * 100)
        bright = light.ground.material == M["roof"]
        percent[bright] = np.maximum(percent[bright], 7)
        return percent.astype(np.uint8), light.valid

    def _qa60(self, scene: Scene, lattice: Lattice, window: Window) -> tuple[Values, Valid | None]:
        light = self.light(scene, lattice, window)
        if _NO_QA60[0] <= scene.day < _NO_QA60[1]:
            return np.zeros((window.height, window.width), np.uint16), np.zeros((window.height, window.width), bool)
        cloud = self._cloud(scene, lattice, window)
        return ((cloud > 0.3) * np.uint16(1024)).astype(np.uint16), light.valid

    def _aerosol(self, scene: Scene, lattice: Lattice, window: Window) -> tuple[Values, Valid | None]:
        light = self.light(scene, lattice, window)
        return (90 + 60 * self._cloud(scene, lattice, window)).astype(np.uint16), light.valid

    def _vapour(self, scene: Scene, lattice: Lattice, window: Window) -> tuple[Values, Valid | None]:
        light = self.light(scene, lattice, window)
        grams = 0.35 + 0.055 * np.clip(light.ground.warmth_c + 6, 0, 40)
        return (grams * 1000).astype(np.uint16), light.valid


_PARCEL_TONE = np.zeros(15, dtype=np.float32)
_PARCEL_TONE[[M["crop"], M["roof"], M["grass"]]] = (0.0022, 0.0012, 0.0004)


def _parcel_tone(ground: Ground) -> F32:
    tone = ground.parcel.astype(np.float32)
    tone -= 128
    tone *= _PARCEL_TONE.take(ground.material)
    tone += 1
    return tone


def seen(strip: Strip, lattice: Lattice, window: Window) -> Valid | None:
    """Which pixels are in the strip, (height, width) bool (None: all of them)."""
    if strip.whole:
        return None
    _, top = strip.tile.origin_m
    y = lattice.y0 + (np.arange(window.row, window.row + window.height) + 0.5) * lattice.dy
    x = lattice.x0 + (np.arange(window.column, window.column + window.width) + 0.5) * lattice.dx
    t = (top - y) / 109_800.0
    west = strip.west[0] + (strip.west[1] - strip.west[0]) * t
    east = strip.east[0] + (strip.east[1] - strip.east[0]) * t
    if x[0] >= west.max() and x[-1] <= east.min():
        return None
    return np.asarray((x[None, :] >= west[:, None]) & (x[None, :] <= east[:, None]))
