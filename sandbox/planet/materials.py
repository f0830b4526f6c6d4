"""The material of each pixel: rules on smooth fields, texture and parcels; a rule that no pixel meets costs nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sandbox.planet.fields import Fields
from sandbox.planet.parcels import Blocks, Parcels, Plots

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

# Materials determine reflectance. Each belongs to one WorldCover class.
MATERIALS = (
    "broadleaf", "conifer", "shrub", "grass", "crop", "roof", "street", "sand", "rock", "snow", "water",
    "wetland", "mangrove", "moss", "hedge",
)  # fmt: skip
M = {name: np.uint8(k) for k, name in enumerate(MATERIALS)}
WORLDCOVER = np.array([10, 10, 20, 30, 40, 50, 50, 60, 60, 70, 80, 90, 95, 100, 10], dtype=np.uint8)
# The fine texture is between -127 and 127 fortieths.
_MOST = 3.2


def materials_of(f: Fields, fine: F32, other: F32, parcels: Callable[[], Parcels]) -> U8:
    """Material of each pixel (height, width); later rules paint over earlier ones.

    `fine` and `other` are texture of deviation 1; the parcels are made where there are fields or towns.
    """
    rank = _smooth_rank(0.35 * fine + f["patch"])
    material = _vegetation(f, rank, other)
    if f.high("crop") > 0 and f.high("height") > 0:
        _paint_fields(material, f, parcels().plots, rank)
    if f.high("town") + 0.12 * _MOST > 0 and f.high("height") > 0.5:
        _paint_towns(material, f, parcels().blocks, other)
    if f.least("road") < 0.0042 and f.high("crop") > 0.12 and f.high("height") > 0.5:
        np.putmask(material, (np.abs(f["road"]) < 0.0042) & (f["crop"] > 0.12) & (f["height"] > 0.5), M["street"])
    _paint_rivers(material, f, fine)
    _paint_sea(material, f, fine)
    return material


def _smooth_rank(values: F32) -> F32:
    """A smooth rank in (0, 1) of values with deviation near 1 (logistic-like, rational); in their memory."""
    size = np.abs(values)
    size += 1
    values *= 0.62
    values /= size
    values *= np.float32(1.05)
    values += 0.5
    return values


def _vegetation(f: Fields, rank: F32, other: F32) -> U8:
    tree = f["tree"]
    material = np.where(f["rain"] * (1 + 0.25 * other) < 420, M["sand"], M["rock"])
    # The land between the woods follows a second pattern, so that classes are not nested like contour lines.
    rank_open = _smooth_rank(0.45 * other + f["mix"])
    rank_open *= np.maximum(1 - tree, 0.02)
    np.putmask(material, rank_open < f["shrub"] + f["grass"], M["grass"])
    np.putmask(material, rank_open < f["shrub"], M["shrub"])
    coolest = f.low("warmth") + f.low("swing") - 1.5 * _MOST
    if coolest < 11.5:
        cool = f["warmth"] + f["swing"] + 1.5 * other < 11.5
        np.putmask(material, cool & (material == M["grass"]), M["moss"])
    woods = rank < tree
    np.putmask(material, woods, M["broadleaf"])
    np.putmask(material, woods & (0.22 * other + f["conifer"] > 0.5), M["conifer"])
    if f.high("wet") > 0.04:
        wet = (f["wet"] > 0.04) & (rank + 0.1 * other > 1.02 - 1.1 * f["wet"])
        np.putmask(material, wet, M["wetland"])
    if coolest - 6 * max(f.high("north"), -f.low("north")) < 0.5:
        snow = f["warmth"] + f["swing"] + 1.2 * other - 6 * np.abs(f["north"]) < 0.5
        np.putmask(material, snow, M["snow"])
    return material


def _paint_fields(material: U8, f: Fields, plots: Plots, rank: F32) -> None:
    ploughed = plots.chance < f["crop"]
    # Woods and scrub remain in farmland where the patch noise has extreme values.
    ploughed &= rank > f["tree"] * 0.22
    if f.low("height") <= 0:
        ploughed &= f["height"] > 0
    np.putmask(material, ploughed, M["crop"])
    ploughed &= plots.edge
    kind = plots.byte & 3
    np.putmask(material, ploughed & (kind == 0) & (f["rain"] > 500), M["hedge"])
    np.putmask(material, ploughed & (kind == 1), M["grass"])


def _paint_towns(material: U8, f: Fields, blocks: Blocks, other: F32) -> None:
    town = 0.12 * other + f["town"]
    inside = (town > 0) & (f["height"] > 0.5)
    np.putmask(material, inside & (blocks.chance < 0.55 + 0.5 * town), M["roof"])
    np.putmask(material, inside & blocks.street, M["street"])


def _paint_rivers(material: U8, f: Fields, fine: F32) -> None:
    # A river is at most 0.0055 * 1.3 wide, and its wet bank adds to that.
    if f.least("river") < 0.0072 + max(0.008 * f.high("wet") + 0.001 * _MOST, 0):
        arid = np.clip(f["rain"] / 650, 0.04, 1.3)
        steep = np.clip(1 - 3 * (f["east"] ** 2 + f["north"] ** 2) ** 0.5, 0.1, 1)
        bank = np.abs(f["river"]) - 0.0055 * arid * steep
        np.putmask(material, (bank < 0.008 * f["wet"] + 0.001 * fine) & (f["wet"] > 0.02), M["wetland"])
        np.putmask(material, bank < 0, M["water"])
    if f.high("lake") + 0.05 * _MOST > 0 and f.high("rain") > 350:
        np.putmask(material, (0.05 * fine + f["lake"] > 0) & (f["rain"] > 350), M["water"])


def _paint_sea(material: U8, f: Fields, fine: F32) -> None:
    if f.low("height") > 9:
        return
    height = f["height"]
    shore = (f["mangrove"] > 0.08) & (height < 9) & (height + 2.5 * fine > -1)
    np.putmask(material, shore & (material != M["roof"]), M["mangrove"])
    if f.low("height") <= 0:
        sea = height <= 0
        np.putmask(material, sea & ~shore, M["water"])
        np.putmask(material, sea & (f["warmth"] + f["swing"] < -1), M["snow"])
