"""What the published readers make of the files, by their rules, written anew.

Rules: TorchGeo's `MMEarth` (microsoft/torchgeo@0497376) and `MMEarthDataset` (vishalned/MMEarth-train@1f368b3).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

TORCHGEO_LAYERS = (
    "aster", "biome", "canopy_height_eth", "dynamic_world", "eco_region", "era5", "esa_worldcover", "sentinel1_asc",
    "sentinel1_desc", "sentinel2", "sentinel2_cloudmask", "sentinel2_cloudprod", "sentinel2_scl",
)  # fmt: skip
TRAIN_LAYERS = {
    "sentinel2": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12], "sentinel1": range(8), "aster": range(2), "era5": range(12),
    "dynamic_world": range(1), "canopy_height_eth": range(2), "lat": range(2), "lon": range(2), "biome": None,
    "eco_region": None, "month": range(2), "esa_worldcover": range(1),
}  # fmt: skip
TRAIN_NODATA = {
    "sentinel2": 0, "canopy_height_eth": 255, "dynamic_world": 0, "esa_worldcover": 0, "era5": np.nan,
    "biome": 255, "eco_region": 65535,
}  # fmt: skip
WORLDCOVER = (10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100)


@dataclass
class Published:
    """The four files of `stem` below `root`, found by their fixed names."""

    root: Path
    stem: str

    def _json(self, what: str) -> Any:
        return json.loads((self.root / self.stem / f"{self.stem}_{what}.json").read_text())

    @cached_property
    def splits(self) -> dict[str, list[int]]:
        return self._json("splits")

    @cached_property
    def stats(self) -> dict[str, dict[str, list[float]]]:
        return self._json("band_stats")

    @cached_property
    def tile_info(self) -> dict[str, dict[str, Any]]:
        return self._json("tile_info")

    @property
    def arrays(self) -> h5py.File:
        return h5py.File(self.root / self.stem / f"{self.stem}.h5", "r")

    def name(self, row: int) -> str:
        with self.arrays as file:
            return file["metadata"][row][0].decode("utf-8")

    def _key(self, layer: str, row: int) -> str:
        is_l2a = self.tile_info[self.name(row)]["S2_type"] == "l2a"
        return layer if layer != "sentinel2" else f"sentinel2_{'l2a' if is_l2a else 'l1c'}"


class AsTorchGeo(Published):
    """`dataset[index]` by TorchGeo's rules."""

    def layer(self, row: int, layer: str) -> np.ndarray:
        stored_as = layer.split("_")[0] if layer.startswith("sentinel1") else layer
        with self.arrays as file:
            data = file[stored_as][row][:]
        if layer in ("biome", "eco_region"):
            return data[[0]].astype(np.int64)
        if layer.startswith("sentinel1"):
            data = data[4:] if layer.endswith("desc") else data[:4]
        if layer == "dynamic_world":
            return np.where(data == 0, np.nan, data.astype(float) - 1)
        if layer == "esa_worldcover":
            return np.vectorize(lambda code: WORLDCOVER.index(code) if code in WORLDCOVER else code)(data)
        if layer.startswith("sentinel2_"):
            return data.astype(np.int64)
        return self._normalised(row, layer, data.astype(np.float32))

    def _normalised(self, row: int, layer: str, data: np.ndarray) -> np.ndarray:
        stats = self.stats["sentinel1" if layer.startswith("sentinel1") else self._key(layer, row)]
        bands = slice(4, 8) if layer == "sentinel1_desc" else slice(0, len(data))
        mean, std = (np.array(stats[name])[bands].reshape(-1, *(1,) * (data.ndim - 1)) for name in ("mean", "std"))
        nodata = {"era5": np.inf, "sentinel2": 0, "canopy_height_eth": 255}.get(layer, -np.inf)
        values = (data - mean) / std
        return np.where(values == nodata, np.nan, values).astype(np.float32)


class AsMMEarthTrain(Published):
    """`dataset[index]` by MMEarth-train's rules."""

    def layer(self, row: int, layer: str) -> np.ndarray:
        bands = TRAIN_LAYERS[layer]
        with self.arrays as file:
            data = np.array(file[layer][row, ...] if bands is None else file[layer][row, list(bands), ...])
        data = data.astype(np.float64)
        nodata = TRAIN_NODATA.get(layer, -np.inf)
        data[data == nodata] = np.nan
        if layer == "dynamic_world":
            data -= 1
        if layer == "esa_worldcover":
            data = np.vectorize(lambda code: WORLDCOVER.index(code) if code in WORLDCOVER else code)(data)
            data = np.where((data > 10) | (data == nodata), np.nan, data)  # compared once more: tree cover is lost
        if bands is None or layer in ("dynamic_world", "esa_worldcover"):
            return np.where(np.isnan(data), -1, data).astype(np.int64)
        stats = self.stats[self._key(layer, row)]
        mean, std = (
            np.array(stats[name])[list(bands)].reshape(-1, *(1,) * (data.ndim - 1)) for name in ("mean", "std")
        )
        return ((data - mean) / std).astype(np.float32)
