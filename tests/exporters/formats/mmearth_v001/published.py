"""Files as the published converter of MMEarth v001 writes them, made up; written without any code of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

OPTICAL = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8A", "B8", "B9", "B10", "B11", "B12"]
L2A = [*(name for name in OPTICAL if name != "B10"), "SCL", "MSK_CLDPRB", "QA60"]
L1C = [*OPTICAL, "QA60"]
COVER = [10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100]
PLACES = [
    (9.5, 46.2, "EPSG:32632"),
    (-61.3, -3.4, "EPSG:32720"),
    (20.1, 67.8, "EPSG:32634"),
    (140.2, -36.9, "EPSG:32754"),
]
SHAPES = {
    "sentinel2": ("u2", 13), "sentinel2_cloudmask": ("u2", 1), "sentinel2_cloudprod": ("u2", 1),
    "sentinel2_scl": ("u1", 1), "sentinel1": ("f4", 8), "aster": ("i2", 2), "dynamic_world": ("u1", 1),
    "canopy_height_eth": ("i1", 2), "esa_worldcover": ("u1", 1),
}  # fmt: skip
FLAT = {"era5": ("f4", 12), "lat": ("f4", 2), "lon": ("f4", 2), "month": ("f4", 2), "biome": ("u1", 14),
        "eco_region": ("u2", 846)}  # fmt: skip


def tile(row: int, size_px: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the description of tile `row`; every fifth has no ascending pass, every seventh no season."""
    random = np.random.default_rng(row)
    lon, lat, crs = PLACES[row % len(PLACES)]
    lon, lat = lon + row * 0.02, lat + row * 0.02
    level = "l2a" if row % 2 else "l1c"
    yx = (size_px, size_px)
    biome, ecoregion, month = row % 14, (row * 37) % 846, 1 + row % 12
    values = {
        "sentinel2": random.integers(1, 9000, (13, *yx)), "sentinel1": random.normal(-12, 4, (8, *yx)),
        "sentinel2_cloudmask": random.choice([0, 1024, 2048], (1, *yx)),
        "sentinel2_cloudprod": random.integers(0, 101, (1, *yx)), "sentinel2_scl": random.integers(0, 12, (1, *yx)),
        "aster": np.stack([random.integers(-20, 4000, yx), random.integers(0, 60, yx)]),
        "dynamic_world": random.integers(1, 10, (1, *yx)), "canopy_height_eth": random.integers(0, 40, (2, *yx)),
        "esa_worldcover": random.choice(COVER, (1, *yx)), "era5": random.normal(280, 5, 12),
        "lat": [np.sin(np.deg2rad(lat)), np.cos(np.deg2rad(lat))],
        "lon": [np.sin(np.deg2rad(lon)), np.cos(np.deg2rad(lon))],
        "month": [np.sin(2 * np.pi * month / 12), np.cos(2 * np.pi * month / 12)],
        "biome": np.eye(14)[biome], "eco_region": np.eye(846)[ecoregion],
    }  # fmt: skip
    values["sentinel2"][:, :2] = 0
    if level == "l2a":
        values["sentinel2"][10] = 0
    else:
        values["sentinel2_cloudprod"][:], values["sentinel2_scl"][:] = 65535, 255
    values["sentinel1"][[2, 3, 6, 7]] = -np.inf
    values["sentinel1"][0, 0, :3] = 0  # masked by Earth Engine
    bands = {
        "sentinel2": L2A if level == "l2a" else L1C, "sentinel1_asc": ["VV", "VH"], "sentinel1_desc": ["VV", "VH"],
        "aster": ["b1", "slope"], "era5": [f"e{index}" for index in range(12)], "dynamic_world": ["label"],
        "canopy_height_eth": ["height", "std"], "esa_worldcover": ["Map"],
    }  # fmt: skip
    if row % 5 == 0:
        values["sentinel1"][:4], bands["sentinel1_asc"] = -np.inf, None
    if row % 7 == 3:
        values["dynamic_world"][:] = 0
        del bands["dynamic_world"]
    values["esa_worldcover"][0, 0, 0], values["esa_worldcover"][0, 0, 1] = 0, 255
    values["canopy_height_eth"][0, 0, 0] = 127
    info = {
        "S2_DATE": f"2019-{month:02d}-{1 + row % 28:02d}", "S2_type": level, "CRS": crs, "lat": lat, "lon": lon,
        "biome": biome, "eco_region": ecoregion, "NO_DATA": False, "BANDS": bands,
        "era5": {"month1": [1.0, float("nan"), 1, 1], "month2": [1] * 4, "year": [1] * 4},
    }  # fmt: skip
    kinds = SHAPES | FLAT
    return {name: np.asarray(array).astype(kinds[name][0]) for name, array in values.items()}, info


def write_published(
    folder: Path, tiles: int = 10, size_px: int = 16, stem: str = "data_100k_v001", gzip: bool = True
) -> list[dict[str, np.ndarray]]:
    """The four files; returns the arrays by tile. Splits are shuffled, and the JSON is in another order."""
    folder.mkdir(parents=True)
    made = [tile(row, size_px) for row in range(tiles)]
    ids = [str(1000 + 7 * row) for row in range(tiles)]
    more = {"compression": "gzip"} if gzip else {}
    with h5py.File(folder / f"{stem}.h5", "w") as file:
        for name, (dtype, bands) in (SHAPES | FLAT).items():
            shape = (bands, size_px, size_px) if name in SHAPES else (bands,)
            chunks = {"chunks": (1, *shape)} if gzip else {}
            array = file.create_dataset(name, (tiles, *shape), dtype, **chunks, **more)
            for row, (values, _) in enumerate(made):
                array[row] = values[name]
        metadata = file.create_dataset("metadata", (tiles,), [("tile_id", "S100"), ("S2_type", "S10")])
        for row, (_, info) in enumerate(made):
            metadata[row] = (ids[row], info["S2_type"])
    infos = {ids[row]: made[row][1] for row in reversed(range(tiles))} | {"9": {"not": "downloaded"}}
    order = np.random.default_rng(0).permutation(tiles).tolist()
    (folder / f"{stem}_tile_info.json").write_text(json.dumps(infos))
    (folder / f"{stem}_splits.json").write_text(json.dumps({"train": order[:-3], "val": order[-3:], "test": []}))
    (folder / f"{stem}_band_stats.json").write_text("{}")
    return [values for values, _ in made]
