"""The datasets of MMEarth v001's HDF5 file: names, shapes, dtypes, nodata, and the bands of our layers that fill them.

Published facts: vishalned/MMEarth-data (`utils/convert_to_h5.py`), vishalned/MMEarth-train (`MODALITIES.py`). A dataset
has the name of the layer that it holds. `LAYERS` come from layers of a corpus, `PLACES` from the manifest alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.modality import Extent

METADATA = "metadata"
METADATA_DTYPE = np.dtype([("tile_id", "S100"), ("S2_type", "S10")])
LEVELS = ("l1c", "l2a")  # what `S2_type` may be


@dataclass(frozen=True, eq=False)
class Dataset:
    """One dataset, (tiles, bands[, y, x]) or, for `classes`, (tiles, classes) as one-hot.

    `bands` are the published names in the order of the file, `layer_bands` those of our layer in the same order, with
    their `units`. A value of the file is physical / `scale`; `nodata` stands where there is no datum. `codes` are the
    legal values of a map of classes. `by_level` says that statistics of L1C and L2A are kept apart.
    """

    name: str
    dtype: str
    bands: tuple[str, ...]
    layer_bands: tuple[str, ...]
    nodata: float
    units: tuple[str, ...] = ()
    extent: Extent = "pixel"
    scale: float = 1.0
    codes: tuple[int, ...] = ()
    classes: int = 0
    by_level: bool = False

    @property
    def fill(self) -> np.generic:
        """`nodata` as a scalar of the file's dtype."""
        return np.dtype(self.dtype).type(self.nodata)

    def shape(self, size_px: int) -> tuple[int, ...]:
        """Shape of one tile: (bands, size_px, size_px), (bands,) or (classes,)."""
        if self.classes:
            return (self.classes,)
        return (len(self.bands), size_px, size_px) if self.extent == "pixel" else (len(self.bands),)


def _image(name: str, dtype: str, bands: tuple[str, ...], units: str = "1", **more: Any) -> Dataset:
    return Dataset(name, dtype, bands, bands, more.pop("nodata"), (units,) * len(bands), **more)


_OPTICAL_BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8A", "B8", "B9", "B10", "B11", "B12")
_POLARISATIONS = ("VV", "VH", "HH", "HV")
_PASSES = {"asc": "ascending", "desc": "descending"}
_WINDOWS = {"prev_month": "previous_month", "curr_month": "current_month", "year": "year"}
_WEATHER = {
    "avg_temp": ("temperature_mean", "K"), "min_temp": ("temperature_min", "K"), "max_temp": ("temperature_max", "K"),
    "total_precip": ("precipitation_sum", "m"),
}  # fmt: skip

OPTICAL = _image("sentinel2", "uint16", _OPTICAL_BANDS, nodata=0, scale=1e-4, by_level=True)
CLOUD_MASK = _image(
    "sentinel2_cloudmask", "uint16", ("QA60",), nodata=65535, codes=(0, 1024, 2048, 3072), by_level=True
)
CLOUD_PROBABILITY = _image(
    "sentinel2_cloudprod", "uint16", ("MSK_CLDPRB",), "percent", nodata=65535, by_level=True
)  # fmt: skip
SCENE_CLASSES = _image("sentinel2_scl", "uint8", ("SCL",), nodata=255, codes=tuple(range(12)))
RADAR = Dataset(
    "sentinel1", "float32",
    tuple(f"{orbit_pass}_{polarisation}" for orbit_pass in _PASSES for polarisation in _POLARISATIONS),
    tuple(f"{polarisation}_{orbit_pass}" for orbit_pass in _PASSES.values() for polarisation in _POLARISATIONS),
    -math.inf, ("dB",) * 8,
)  # fmt: skip
# Whole metres and whole degrees. int16 and int8 have no value that a reader of v001 takes for nodata: 0, as published.
RELIEF = Dataset("aster", "int16", ("elevation", "slope"), ("elevation", "slope"), 0, ("m", "degree"))
CLIMATE = Dataset(
    "era5", "float32", tuple(f"{window}_{name}" for window in _WINDOWS for name in _WEATHER),
    tuple(f"{window}_{name}" for window in _WINDOWS.values() for name, _ in _WEATHER.values()),
    math.nan, tuple(units for _ in _WINDOWS for _, units in _WEATHER.values()), "image",
)  # fmt: skip
SEASONS = Dataset("dynamic_world", "uint8", ("landcover",), ("label",), 0, ("1",), codes=tuple(range(1, 10)))
CANOPY = _image("canopy_height_eth", "int8", ("height", "std"), "m", nodata=0)
LAND_COVER = Dataset(
    # 255 is what both readers take for no class; 0 becomes tree cover in one of them.
    "esa_worldcover", "uint8", ("map",), ("Map",), 255, ("1",),
    codes=(10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100),
)  # fmt: skip
LATITUDE = _image("lat", "float32", ("sin", "cos"), nodata=-math.inf, extent="image")
LONGITUDE = _image("lon", "float32", ("sin", "cos"), nodata=-math.inf, extent="image")
MONTH = _image("month", "float32", ("sin", "cos"), nodata=-math.inf, extent="image")
# Of a place whose biome or ecoregion is not known no class is set: published readers take it for class 0.
BIOME = _image("biome", "uint8", ("biome",), nodata=255, extent="image", classes=14)
ECOREGION = _image("eco_region", "uint16", ("eco_region",), nodata=65535, extent="image", classes=846)

LAYERS = (
    OPTICAL, CLOUD_MASK, CLOUD_PROBABILITY, SCENE_CLASSES, RADAR, RELIEF, CLIMATE, SEASONS, CANOPY, LAND_COVER,
)  # fmt: skip
PLACES = (LATITUDE, LONGITUDE, BIOME, ECOREGION, MONTH)
