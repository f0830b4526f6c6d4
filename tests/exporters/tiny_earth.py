"""A few images over one Sentinel-2 tile whose every value is a formula: small, fast, and known without a server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from pyproj import Transformer
from shapely import Polygon

from sandbox.raster.stored import Projection, Query, StoredFeature, StoredImage, Window

CRS = "EPSG:32632"
LEFT, TOP, SIDE_M = 600000.0, 5200020.0, 109800.0
TILE = "32TPS"
OPTICAL = {"l2a": "COPERNICUS/S2_SR_HARMONIZED", "l1c": "COPERNICUS/S2_HARMONIZED"}
RADAR = "COPERNICUS/S1_GRD"
ERA5 = "ECMWF/ERA5_LAND/MONTHLY_AGGR"
DYNAMIC_WORLD = "GOOGLE/DYNAMICWORLD/V1"
NATIVE_M = {
    "B1": 60, "B2": 10, "B3": 10, "B4": 10, "B5": 20, "B6": 20, "B7": 20, "B8": 10, "B8A": 20, "B9": 60, "B10": 60,
    "B11": 20, "B12": 20, "QA60": 60, "SCL": 20, "MSK_CLDPRB": 20,
}  # fmt: skip
Formula = Callable[[Any, Any], Any]


def formula(name: str, salt: int) -> Formula:
    """The digital number at native column and row; neighbours differ, and so do bands and images."""
    factor = sum(map(ord, name)) % 97 + salt
    if name == "SCL":
        return lambda column, row: (column + 2 * row + factor) % 12
    if name == "MSK_CLDPRB":
        return lambda column, row: (column * 3 + row + factor) % 101
    if name == "QA60":
        return lambda column, row: 1024 * ((column + row) % 2)
    return lambda column, row: (column * 37 + row * 11 + factor * 13) % 7919 + 1


@dataclass(frozen=True)
class FieldBand:
    """A band over the tile, by formula; `holes` says where nothing is known."""

    name: str
    dtype: np.dtype[Any]
    resolution_m: float
    values: Formula
    holes: Formula | None = None

    @property
    def projection(self) -> Projection:
        return Projection(CRS, (self.resolution_m, 0.0, LEFT, 0.0, -self.resolution_m, TOP))

    def read(self, window: Window) -> tuple[Any, Any]:
        columns = window.column + np.arange(window.width)[None, :]
        rows = window.row + np.arange(window.height)[:, None]
        count = SIDE_M / self.resolution_m
        inside = (columns >= 0) & (columns < count) & (rows >= 0) & (rows < count)
        if self.holes is not None:
            inside = inside & ~np.broadcast_to(self.holes(columns, rows), inside.shape)
        values = np.broadcast_to(np.asarray(self.values(columns, rows)), inside.shape)
        return values.astype(self.dtype), inside


def outline(left: float = LEFT, width_m: float = SIDE_M) -> Polygon:
    """The tile, or a part of it, in lon/lat."""
    to_lonlat = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True).transform
    corners = [(left, TOP), (left + width_m, TOP), (left + width_m, TOP - SIDE_M), (left, TOP - SIDE_M)]
    return Polygon([to_lonlat(*corner) for corner in corners])


def lonlat(x_m: float, y_m: float) -> tuple[float, float]:
    """The point at these metres of the tile's CRS."""
    return Transformer.from_crs(CRS, "EPSG:4326", always_xy=True).transform(x_m, y_m)


def milliseconds(date: datetime) -> int:
    return round(date.timestamp() * 1000)


def optical(level: str, date: datetime, clouds: float = 1.0, lacking: tuple[str, ...] = ()) -> StoredImage:
    """A Sentinel-2 image of the tile; its salt is the day of the year."""
    own = {"l2a": {"B10"}, "l1c": {"SCL", "MSK_CLDPRB"}}[level] | set(lacking)
    salt = date.timetuple().tm_yday
    bands = tuple(
        FieldBand(name, np.dtype(np.uint16 if name[0] in "BQ" else np.uint8), size, formula(name, salt))
        for name, size in NATIVE_M.items()
        if name not in own
    )
    index = f"{date:%Y%m%dT%H%M%S}_{date:%Y%m%dT%H%M%S}_T{TILE}"
    properties = {"system:time_start": milliseconds(date), "CLOUDY_PIXEL_PERCENTAGE": clouds, "MGRS_TILE": TILE}
    return StoredImage(f"{OPTICAL[level]}/{index}", bands, {**properties, "system:index": index}, outline())


def radar(date: datetime, orbit_pass: str, polarisations: tuple[str, ...] = ("VV", "VH")) -> StoredImage:
    """A Sentinel-1 image of the tile, in dB."""
    salt = date.timetuple().tm_yday
    bands = tuple(
        FieldBand(name, np.dtype(np.float64), 10.0, lambda c, r, k=k: -((c * 3 + r + salt + k) % 300) / 10.0)
        for k, name in enumerate(polarisations)
    )
    index = f"S1A_{date:%Y%m%dT%H%M%S}_{orbit_pass}"
    properties = {
        "system:time_start": milliseconds(date), "system:index": index,
        "instrumentMode": "IW", "orbitProperties_pass": orbit_pass,
    }  # fmt: skip
    return StoredImage(f"{RADAR}/{index}", bands, properties, outline())


def month(date: datetime) -> StoredImage:
    """A month of climate that is the same everywhere: kelvin and metres follow from the month's number."""
    number = date.year * 12 + date.month
    numbers = {
        "temperature_2m": 280 + number % 10, "temperature_2m_min": 260 + number % 7,
        "temperature_2m_max": 300 + number % 5, "total_precipitation_sum": 0.01 * (number % 12 + 1),
    }  # fmt: skip
    bands = tuple(
        FieldBand(name, np.dtype(np.float64), 100.0, lambda c, r, value=value: value + 0.0 * c * r)
        for name, value in numbers.items()
    )
    index = f"{date:%Y%m}"
    return StoredImage(f"{ERA5}/{index}", bands, {"system:time_start": milliseconds(date), "system:index": index})


def labels(date: datetime, label: int) -> StoredImage:
    """A Dynamic World image of one class."""
    band = FieldBand("label", np.dtype(np.uint8), 10.0, lambda c, r: label + 0 * c * r)
    index = f"{date:%Y%m%dT%H%M%S}_T{TILE}"
    properties = {"system:time_start": milliseconds(date), "system:index": index}
    return StoredImage(f"{DYNAMIC_WORLD}/{index}", (band,), properties, outline())


def single(asset_id: str, name: str, dtype: str, values: Formula, holes: Formula | None = None) -> StoredImage:
    """A static image with one band of 10 m."""
    return StoredImage(asset_id, (FieldBand(name, np.dtype(dtype), 10.0, values, holes),), {"system:index": "one"})


CANOPY = tuple(f"users/nlang/ETH_GlobalCanopyHeight{kind}_2020_10m_v1" for kind in ("", "SD"))
ASTER = "projects/sat-io/open-datasets/ASTER/GDEM"
COVER = "ESA/WorldCover/v100"


def statics() -> list[StoredImage]:
    """Height rises 1 m per column of 10 m eastwards: a slope of atan(0.1). The canopy has holes."""
    return [
        single(ASTER, "b1", "int16", lambda c, r: c % 5000 + 0 * r),
        single(CANOPY[0], "b1", "uint8", lambda c, r: (c + r) % 40, lambda c, r: (c // 50) % 3 == 0),
        single(CANOPY[1], "b1", "uint8", lambda c, r: (c + r) % 9, lambda c, r: (c // 50) % 3 == 0),
        single(f"{COVER}/2020", "Map", "uint8", lambda c, r: 10 * ((c // 3 + r // 5) % 9 + 1)),
    ]


@dataclass
class TinyEarth:
    """A catalogue of a list of images. `asked` counts, so that a test sees what a server was spared."""

    scenes: list[StoredImage]
    regions: Mapping[str, list[StoredFeature]] = field(default_factory=dict)

    @property
    def _collections(self) -> set[str]:
        known = {*OPTICAL.values(), RADAR, ERA5, DYNAMIC_WORLD, COVER}
        return known

    def describe(self, asset_id: str) -> dict[str, Any] | None:
        if asset_id in self._collections:
            return {"type": "IMAGE_COLLECTION", "properties": {}}
        if asset_id in self.regions:
            return {"type": "TABLE", "properties": {}}
        return {"type": "IMAGE", "properties": {}} if self.image(asset_id) else None

    def image(self, asset_id: str) -> StoredImage | None:
        return next((image for image in self.scenes if image.asset_id == asset_id), None)

    def images(self, collection_id: str, query: Query) -> Iterable[StoredImage] | None:
        if collection_id not in self._collections:
            return None
        result = [image for image in self.scenes if image.asset_id.rsplit("/", 1)[0] == collection_id]
        return sorted(result, key=lambda image: str(image.properties["system:index"]))

    def table(self, asset_id: str) -> list[StoredFeature] | None:
        return self.regions.get(asset_id)

    def children(self, asset_id: str) -> list[str] | None:
        return None


def day(year: int, month: int, day: int, hour: int = 10) -> datetime:
    return datetime(year, month, day, hour, tzinfo=UTC)


def standard() -> TinyEarth:
    """Scenes of 2018 (L1C only), 2019 (both levels) and 2020 (clouds only); radar without descending passes in 2018."""
    scenes = [optical("l1c", day(2018, 3, date)) for date in (1, 11, 21)]
    scenes += [optical("l1c", day(2019, 6, date)) for date in (2, 12)]
    scenes += [optical("l2a", day(2019, 6, 2)), optical("l2a", day(2019, 6, 12), lacking=("MSK_CLDPRB",))]
    scenes += [optical(level, day(2020, 5, 5), clouds=80.0) for level in OPTICAL]
    scenes += [radar(day(2018, 3, date), "ASCENDING") for date in (3, 15)]
    scenes += [radar(day(2019, 6, date), "ASCENDING", ("HH", "HV")) for date in (5, 9)]
    scenes += [radar(day(2019, 5, 30), "DESCENDING", ("VV",))]
    scenes += [month(datetime(2016 + index // 12, index % 12 + 1, 1, tzinfo=UTC)) for index in range(60)]
    scenes += [labels(day(2019, month, 1), 4) for month in (1, 7)] + [labels(day(2019, 12, 31, 23), 5)]
    scenes += [labels(day(2020, 1, 1, 0), 6) for _ in range(1)]
    return TinyEarth(scenes + statics())
