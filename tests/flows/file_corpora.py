"""Corpora from files for tests: the stages as functions, and rasters to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine

from flows import stages
from flows.settings import Settings, with_overrides
from pipeline.corpus import Corpus
from pipeline.progress import Silent

SPLIT = {"train": 0.6, "val": 0.2, "test": 0.2, "buffer_m": 0.0}
TIME = "2020-06-01"


def settings(
    tmp_path: Path, folder: Path, layers: dict[str, Any], size_px: int = 16, split: dict[str, Any] = SPLIT, **files: Any
) -> Settings:
    return with_overrides(
        {
            "corpus": {"folder": str(tmp_path / "corpus"), "size_px": size_px, "shard_rows": 32},
            "source": {"kind": "files"}, "files": {"folder": str(folder), "time": TIME} | files,
            "layers": layers, "split": split,
        },
        (),
    )  # fmt: skip


def build(chosen: Settings) -> Corpus:
    """All stages, without any Earth Engine."""
    stages.check(chosen, "build")
    with stages.earth_engine(chosen) as engine:
        stages.sample(chosen, None, Silent())
        stages.anchor(chosen, engine, Silent())
        stages.export(chosen, engine, Silent())
        stages.finalize(chosen, Silent())
    return Corpus.open(chosen.folder)


def raster(path: Path, values: np.ndarray, at: tuple[float, float] = (600_000.0, 5_600_000.0), crs: Any = "EPSG:32631",
           side: tuple[float, float] = (10.0, 10.0), names: tuple[str, ...] = (), tags: dict[str, str] | None = None,
           **more: Any) -> Path:  # fmt: skip
    """A GeoTIFF of `values` (bands, y, x) whose upper left corner is `at`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, height, width = values.shape
    transform = Affine(side[0], 0, at[0], 0, -side[1], at[1])
    profile = {"driver": "GTiff", "count": bands, "height": height, "width": width, "dtype": values.dtype, **more}
    with rasterio.open(path, "w", crs=crs, transform=transform, **profile) as file:
        file.write(values)
        file.update_tags(**(tags or {}))
        for number, name in enumerate(names, 1):
            file.set_band_description(number, name)
    return path


def as_read(path: Path, corner: tuple[float, float], size_px: int) -> np.ndarray:
    """Raw values (bands, y, x) of the square whose upper left corner is nearest to `corner`, as rasterio reads it."""
    with rasterio.open(path) as file:
        column, row = ~file.transform * corner
        window = rasterio.windows.Window(round(column), round(row), size_px, size_px)
        return np.asarray(file.read(window=window))
