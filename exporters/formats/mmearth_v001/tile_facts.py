"""What `<name>_tile_info.json` says of a tile, as a row of the manifest, and which datasets it says are not there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from exporters.formats.mmearth_v001.datasets import (
    BIOME,
    CANOPY,
    CLOUD_MASK,
    CLOUD_PROBABILITY,
    ECOREGION,
    LAND_COVER,
    LEVELS,
    OPTICAL,
    RADAR,
    RELIEF,
    SCENE_CLASSES,
    SEASONS,
    Dataset,
)
from exporters.formats.mmearth_v001.regions import BIOME_CODES, regions
from exporters.formats.mmearth_v001.tile_info import OWN
from pipeline.grid import Grid

_OPTICAL_PARTS = (CLOUD_MASK, CLOUD_PROBABILITY, SCENE_CLASSES)
_STATIC = (RELIEF, SEASONS, CANOPY, LAND_COVER)
_PASSES = ("asc", "desc")
# These follow in the stack of bands that the published converter cut by counting.
_COUNTED = (RADAR, *_STATIC)
_ROLES = ("anchor", "ascending", "descending")
NOT_THERE = "the published files have no such bands of this tile"
SHIFTED = "the published converter read another band in its place (this L2A tile has no MSK_CLDPRB)"


@dataclass(frozen=True)
class TileFacts:
    """`cells` of the manifest by column, without the split; `absent` datasets with the reason.

    `is_own` says that our way out wrote the tile, so that grid and scenes are known, and a value of 0 dB is one.
    """

    cells: dict[str, Any]
    absent: Mapping[Dataset, str]
    is_own: bool


def tile_facts(tile_id: str, info: Mapping[str, Any], size_px: int, biome_names: Mapping[int, str]) -> TileFacts:
    """The facts of a tile of `size_px`. Raises KeyError, TypeError, ValueError or IndexError where it is not v001's."""
    if info["S2_type"] not in LEVELS:
        raise ValueError(f"S2_type is {info['S2_type']!r}")
    own = info.get(OWN)
    cells = _published(tile_id, info, size_px, biome_names) if own is None else _own(info, own)
    return TileFacts(cells | {"level": info["S2_type"]}, _absent(info, own is not None), own is not None)


def _published(tile_id: str, info: Mapping[str, Any], size_px: int, biome_names: Mapping[int, str]) -> dict[str, Any]:
    """The grid is the one of the lattice whose centre is nearest; of the anchor the date alone is known."""
    lonlat = (float(info["lon"]), float(info["lat"]))
    anchor = {"anchor_id": "", "anchor_time": datetime.strptime(info["S2_DATE"], "%Y-%m-%d").replace(tzinfo=UTC)}
    grid = _grid_cells(Grid.around(lonlat, str(info["CRS"]), size_px))
    return {"id": tile_id, "lon": lonlat[0], "lat": lonlat[1]} | _place(info, biome_names) | grid | anchor


def _place(info: Mapping[str, Any], biome_names: Mapping[int, str]) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    if info[BIOME.name] is not None:
        code = BIOME_CODES[_class(info[BIOME.name])]
        cells |= {"biome": code, "biome_name": biome_names.get(code, "")}
    if info[ECOREGION.name] is not None:
        region = regions()[_class(info[ECOREGION.name])]
        cells |= {"ecoregion": region.ecoregion, "ecoregion_name": region.ecoregion_name, "realm": region.realm}
    return cells


def _class(number: Any) -> int:
    if not isinstance(number, int) or number < 0:
        raise ValueError(f"{number!r} is no class")
    return number


def _own(info: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """What the chip was when it was written."""
    names = ("id", "stratum", "biome", "biome_name", "ecoregion", "ecoregion_name", "realm")
    scenes = {f"{role}_{part}": own.get(f"{role}_{part}") for role in _ROLES for part in ("id", "time")}
    times = {name: datetime.fromisoformat(text) for name, text in scenes.items() if name.endswith("_time") and text}
    step, _, left, _, _, top = own["transform"]
    height, width = own["shape"]
    grid = Grid(str(info["CRS"]), (float(left), float(top)), (int(height), int(width)), float(step))
    place = {name: own[name] for name in names if name in own} | {"lon": own["longitude"], "lat": own["latitude"]}
    return place | _grid_cells(grid) | {**scenes, "anchor_id": own.get("anchor_id", "")} | times


def _grid_cells(grid: Grid) -> dict[str, Any]:
    (left, top), (height, width) = grid.origin_xy, grid.shape_yx
    return {"crs": grid.crs, "origin_x_m": left, "origin_y_m": top, "resolution_m": grid.resolution_m,
            "height_px": height, "width_px": width}  # fmt: skip


def _absent(info: Mapping[str, Any], is_own: bool) -> dict[Dataset, str]:
    bands = info.get("BANDS")
    if bands is None:
        return {}
    optical = bands[OPTICAL.name] if is_own else bands.get(OPTICAL.name) or ()
    lacking = [part for part in _OPTICAL_PARTS if not set(part.bands) & set(optical)]
    lacking += [part for part in _STATIC if not bands.get(part.name)]
    if not any(bands.get(f"{RADAR.name}_{orbit_pass}") for orbit_pass in _PASSES):
        lacking.append(RADAR)
    absent = dict.fromkeys(lacking, NOT_THERE)
    if not is_own and info["S2_type"] == "l2a" and CLOUD_PROBABILITY in lacking:
        absent |= dict.fromkeys(_COUNTED, SHIFTED)
    return absent
