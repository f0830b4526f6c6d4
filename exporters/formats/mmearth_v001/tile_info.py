"""`<name>_tile_info.json`: what is known of each tile, by its id."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Self

from exporters.formats.chip_facts import chip_facts
from exporters.formats.mmearth_v001 import datasets
from exporters.formats.mmearth_v001.datasets import CLIMATE, OPTICAL, RADAR, Dataset
from exporters.formats.mmearth_v001.place_values import biome_of, ecoregion_of
from pipeline.chip import Chip

OWN = "geocorpus"  # the key of what v001 has no field for; published readers pass it over
_PARTS = ("month1", "month2", "year")  # of the climate, four numbers each
_YEARLY = ("0_temperature_2m_mean", "1_temperature_2m_min_min", "2_temperature_2m_max_max",
           "3_total_precipitation_sum_sum")  # fmt: skip
_MONTHLY = ("temperature_2m", "temperature_2m_min", "temperature_2m_max", "total_precipitation_sum")

Present = Mapping[Dataset, tuple[bool, ...]]  # which bands of a tile have any datum


def tile_info(chip: Chip, size_px: int, present: Present, climate: tuple[float, ...]) -> dict[str, Any]:
    """The published fields of a tile, and under `OWN` the facts of the chip with the tile's own grid.

    `biome` and `eco_region` are published classes, None where not known. `climate` are the tile's values of `CLIMATE`;
    what is not data is None.
    """
    numbers = [value if math.isfinite(value) else None for value in climate]
    return {
        "S2_DATE": chip.acquisition.date.strftime("%Y-%m-%d"), "S2_type": chip.acquisition.level, "CRS": chip.grid.crs,
        "lat": chip.location.lat, "lon": chip.location.lon, datasets.BIOME.name: biome_of(chip),
        datasets.ECOREGION.name: ecoregion_of(chip), "NO_DATA": False, "BANDS": _bands(chip, present),
        CLIMATE.name: {part: numbers[at * 4 : at * 4 + 4] for at, part in enumerate(_PARTS)},
        OWN: chip_facts(chip) | {"stratum": chip.location.stratum} | _grid(chip, size_px),
    }  # fmt: skip


def _grid(chip: Chip, size_px: int) -> dict[str, Any]:
    """Transform (6 numbers, from column and row to metres of the CRS) and shape (height, width) of the tile."""
    height, width = chip.grid.shape_yx
    (left, top), step = chip.grid.origin_xy, chip.grid.resolution_m
    x, y = left + (width - size_px) // 2 * step, top - (height - size_px) // 2 * step
    return {"transform": [step, 0.0, x, 0.0, -step, y], "shape": [size_px, size_px]}


def _bands(chip: Chip, present: Present) -> dict[str, Any]:
    """Names of the bands that have data, as Earth Engine calls them; passes without any are None."""
    optical = (OPTICAL, datasets.SCENE_CLASSES, datasets.CLOUD_PROBABILITY, datasets.CLOUD_MASK)
    named: dict[str, Any] = {OPTICAL.name: [name for part in optical for name in _named(part.bands, present[part])]}
    radar = _named(RADAR.bands, present[RADAR])
    for orbit_pass in ("asc", "desc"):
        polarisations = [name.removeprefix(f"{orbit_pass}_") for name in radar if name.startswith(f"{orbit_pass}_")]
        named[f"{RADAR.name}_{orbit_pass}"] = polarisations or None
    climate = [f"{month}_{name}" for month in _months(chip.acquisition.date) for name in _MONTHLY] + list(_YEARLY)
    rest = {
        datasets.RELIEF: ("b1", "slope"), CLIMATE: climate, datasets.SEASONS: ("label",),
        datasets.CANOPY: ("height", "std"), datasets.LAND_COVER: ("Map",),
    }  # fmt: skip
    return named | {part.name: _named(names, present[part]) for part, names in rest.items() if any(present[part])}


def _named(names: Any, present: tuple[bool, ...]) -> list[str]:
    return [name for name, is_there in zip(names, present, strict=True) if is_there]


def _months(date: datetime) -> tuple[str, str]:
    """The month before a date's and its own: "201912", "202001"."""
    months = date.year * 12 + date.month - 1
    before, own = (f"{count // 12}{count % 12 + 1:02d}" for count in (months - 1, months))
    return before, own


class TileInfoFile(AbstractContextManager["TileInfoFile"]):
    """The file, written tile by tile, so that a million of them need no memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str]
        self._separator = "{\n"

    def __enter__(self) -> Self:
        self._file = self._path.open("w", encoding="utf-8")
        return self

    def add(self, tile_id: str, info: Mapping[str, Any]) -> None:
        """One more tile."""
        self._file.write(f"{self._separator}{json.dumps(tile_id)}: {json.dumps(info, allow_nan=False)}")
        self._separator = ",\n"

    def __exit__(self, *_: object) -> None:
        self._file.write("\n}\n")
        self._file.close()
