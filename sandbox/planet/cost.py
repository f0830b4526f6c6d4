"""Prints the planet's CPU time for a chip of 128 by 128 pixels with all layers: `python -m sandbox.planet.cost`."""

from __future__ import annotations

import time
from collections import defaultdict
from datetime import UTC, datetime

import numpy as np
from shapely.geometry import Point

from sandbox.planet import Planet
from sandbox.planet.geodesy import utm_from_lonlat
from sandbox.raster.stored import Band, Query, StoredImage, Window

_SIZE_M = 1280.0
_LAYERS = (
    "ESA/WorldCover/v100/2020", "users/nlang/ETH_GlobalCanopyHeight_2020_10m_v1",
    "users/nlang/ETH_GlobalCanopyHeightSD_2020_10m_v1", "projects/sat-io/open-datasets/ASTER/GDEM",
)  # fmt: skip
_START_MS, _END_MS = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp() * 1000) for year in (2020, 2021))


def read_chip(band: Band, lon: float, lat: float, margin: int) -> None:
    """Read the pixels of a chip around a point in degrees, with the margin of a bilinear resampler."""
    t, crs = band.projection.transform, band.projection.crs
    if crs == "EPSG:4326":
        x, y, wide = lon, lat, _SIZE_M / 111_320 / np.cos(np.radians(lat))
        columns, rows = int(wide / t[0]) + 1, int(_SIZE_M / 111_320 / -t[4]) + 1
    else:
        x, y = (float(v) for v in utm_from_lonlat(np.array(lon), np.array(lat), int(crs[5:])))
        columns = rows = int(_SIZE_M / t[0]) + 1
    column, row = int((x - t[2]) / t[0]) - columns // 2, int((y - t[5]) / t[4]) - rows // 2
    band.read(Window(column - margin, row - margin, columns + 2 * margin, rows + 2 * margin))


def chip_cost(planet: Planet, lon: float, lat: float, scene: StoredImage) -> dict[str, float]:
    """CPU milliseconds for each part of a chip."""
    crs, point = scene.bands[0].projection.crs, Point(lon, lat)
    query = Query(point, _START_MS, _END_MS)
    radar = {i.properties["orbitProperties_pass"]: i for i in planet.images("COPERNICUS/S1_GRD", query) or []}
    same = [i for i in planet.images("GOOGLE/DYNAMICWORLD/V1", query) or [] if i.bands[-1].projection.crs == crs]
    layers = [image for name in _LAYERS if (image := planet.image(name)) is not None]
    parts: dict[str, list[tuple[Band, int]]] = {
        "sentinel2": [(band, 1) for band in scene.bands if band.name not in ("AOT", "WVP")],
        "sentinel1": [(band, 1) for image in radar.values() for band in image.bands if band.name != "angle"],
        "dynamic_world (25 labels)": [(image.bands[-1], 0) for image in same[:25]],
        "cover, canopy, elevation": [(image.bands[0], 2) for image in layers],
    }
    return {name: _milliseconds(bands, lon, lat) for name, bands in parts.items()}


def _milliseconds(bands: list[tuple[Band, int]], lon: float, lat: float) -> float:
    start = time.process_time()
    for band, margin in bands:
        read_chip(band, lon, lat, margin)
    return (time.process_time() - start) * 1e3


def main(chips: int = 40) -> None:
    planet, rng = Planet(0), np.random.default_rng(0)
    rows, columns = np.nonzero(planet.world.land & (np.abs(planet.world.lat) < 60))
    costs: dict[str, list[float]] = defaultdict(list)
    while len(costs["total"]) < chips:
        k = rng.integers(len(rows))
        lon, lat = planet.world.lon[rows[k], columns[k]] + 0.1, planet.world.lat[rows[k], columns[k]] + 0.1
        scenes = list(planet.images("COPERNICUS/S2_SR_HARMONIZED", Query(Point(lon, lat), _START_MS, _END_MS)) or [])
        if scenes:
            cost = chip_cost(planet, float(lon), float(lat), scenes[len(scenes) // 2])
            for name, value in (*cost.items(), ("total", sum(cost.values()))):
                costs[name].append(value)
    for name, values in costs.items():
        print(f"{name:28s} {np.mean(values):7.2f} ms CPU   median {np.median(values):7.2f}")


if __name__ == "__main__":
    main()
