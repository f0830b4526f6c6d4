"""The region table: polygons of biome by province, with the columns of RESOLVE Ecoregions 2017."""

from __future__ import annotations

from typing import Any

import numpy as np
import rasterio.features
from numpy.typing import NDArray
from rasterio.transform import from_origin
from shapely.geometry import MultiPolygon, shape

from sandbox.planet.noise import hash_int
from sandbox.planet.world import BIOME_NAMES, ROCK_AND_ICE, STEP_DEG, World
from sandbox.raster.stored import StoredFeature

TABLE = "RESOLVE/ECOREGIONS/2017"
_SMALLEST_DEG2 = 22.0
_REALM_CODES = {
    "Afrotropic": "AF", "Antarctica": "AN", "Australasia": "AU", "Indomalayan": "IN", "Nearctic": "NE",
    "Neotropic": "NO", "Oceania": "OC", "Palearctic": "PA",
}  # fmt: skip
_NOUNS = {
    1: "moist forests", 2: "dry forests", 3: "pine forests", 4: "mixed forests", 5: "conifer forests",
    6: "taiga", 7: "savanna", 8: "steppe", 9: "flooded grasslands", 10: "montane grasslands", 11: "tundra",
    12: "woodlands and scrub", 13: "desert", 14: "mangroves",
}  # fmt: skip
_BIOME_COLORS = {
    1: "#38A700", 2: "#CCCD65", 3: "#88CE66", 4: "#00734C", 5: "#458970", 6: "#7AB6F5", 7: "#FEAA01", 8: "#FEFF73",
    9: "#BEE7FF", 10: "#D6C39D", 11: "#9ED7C2", 12: "#FE0000", 13: "#CC6767", 14: "#FE01C4",
}  # fmt: skip
_NNH = {
    1: ("Half Protected", "#257339"), 2: ("Nature Could Reach Half Protected", "#7BC141"),
    3: ("Nature Could Recover", "#F9A91B"), 4: ("Nature Imperiled", "#EE1E23"),
}  # fmt: skip
_HEADS = ("Val", "Kar", "Tor", "Bel", "Mor", "San", "Ner", "Ost", "Ul", "Pem", "Lun", "Rha", "Ish", "Dov", "Cal", "Zem")
_TAILS = ("mera", "ovia", "adan", "isk", "uela", "orra", "ambe", "enty", "ago", "itza", "una", "esh", "olm", "ira")


def build(world: World, seed: int) -> list[StoredFeature]:
    """The table's rows: valid polygons in lon/lat that tile the land without overlap, 14 biomes and bare ice."""
    labels = _labels(world)
    transform = from_origin(-180, 90, STEP_DEG, STEP_DEG)
    parts: dict[int, list[Any]] = {}
    for geometry, label in rasterio.features.shapes(labels.astype(np.int32), mask=labels > 0, transform=transform):
        parts.setdefault(int(label), []).append(shape(geometry))
    numbered = enumerate(sorted(parts), start=1)
    return [_feature(world, seed, n, label, labels == label, parts[label]) for n, label in numbered]


def _labels(world: World) -> NDArray[np.int64]:
    """biome * 100 + province + 1 for each land cell; small regions join the nearest larger one of their biome."""
    labels = np.where(world.biome > 0, world.biome.astype(np.int64) * 100 + world.province + 1, 0)
    labels[world.biome == ROCK_AND_ICE] = ROCK_AND_ICE * 100
    area = np.cos(np.radians(world.lat)) * STEP_DEG**2
    kinds, inverse = np.unique(labels, return_inverse=True)
    sizes = np.bincount(inverse.ravel(), weights=area.ravel())
    directions = _directions(world, labels, kinds)
    for k in np.argsort(sizes):
        same = (kinds // 100 == kinds[k] // 100) & (sizes > sizes[k]) & (kinds > 0)
        if kinds[k] == 0 or sizes[k] >= _SMALLEST_DEG2 or not same.any():
            continue
        largest = np.flatnonzero(same)[np.argmax(directions[same] @ directions[k])]
        labels[labels == kinds[k]] = kinds[largest]
        sizes[largest] += sizes[k]
        sizes[k] = np.inf
        kinds[k] = -1
    return labels


def _directions(world: World, labels: NDArray[np.int64], kinds: NDArray[np.int64]) -> NDArray[np.float64]:
    """Unit vectors (kinds, 3) to the centre of each label's cells."""
    unit = world.unit / 6.371e6
    index = np.searchsorted(kinds, labels.ravel())
    sums = np.stack([np.bincount(index, weights=unit[axis]) for axis in range(3)], axis=1)
    return np.asarray(sums / np.linalg.norm(sums, axis=1, keepdims=True))


def _feature(world: World, seed: int, number: int, label: int, cells: NDArray[Any], parts: list[Any]) -> StoredFeature:
    biome = label // 100
    icy = biome == ROCK_AND_ICE
    geometry = parts[0] if len(parts) == 1 else MultiPolygon(parts)
    realm = world.realm_name(int(np.bincount(world.realm[cells]).argmax()))
    eco_id = 0 if icy else number
    nnh = 0 if icy else 1 + hash_int(seed, label, 3) % 4
    nnh_name, nnh_color = _NNH.get(nnh, ("N/A", "#A6A6A6"))
    properties = {
        "OBJECTID": number,
        "ECO_NAME": "Rock and Ice" if icy else _name(seed, label, biome),
        "BIOME_NUM": 11.0 if icy else float(biome),
        "BIOME_NAME": "N/A" if icy else BIOME_NAMES[biome],
        "REALM": "N/A" if icy else realm,
        "ECO_BIOME_": "N/A" if icy else f"{_REALM_CODES[realm]}{biome:02d}",
        "NNH": nnh,
        "ECO_ID": eco_id,
        "SHAPE_LENG": round(geometry.length, 6),
        "SHAPE_AREA": round(geometry.area, 6),
        "NNH_NAME": nnh_name,
        "COLOR": f"#{hash_int(seed, label, 4) & 0xFFFFFF:06X}",
        "COLOR_BIO": _BIOME_COLORS.get(biome, "#B4B4B4"),
        "COLOR_NNH": nnh_color,
        "LICENSE": "CC-BY 4.0",
    }
    return StoredFeature(f"{number:020x}", geometry, properties)


def _name(seed: int, label: int, biome: int) -> str:
    word = hash_int(seed, label, 5)
    proper_name = _HEADS[word % len(_HEADS)] + _TAILS[word // 97 % len(_TAILS)]
    side = ("", "Northern ", "Western ", "Upper ", "Central ")[word // 9973 % 5]
    return f"{side}{proper_name} {_NOUNS[biome]}"
