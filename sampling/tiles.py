"""A regular grid of tiles over areas of interest, each in its own UTM zone: none overlap, and all have one size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from pipeline.errors import Fatal
from pipeline.grid import UNEVEN_ZONES, to_crs, to_lonlat
from pipeline.radius_index import pairs_within
from sampling.allocation import allocate, without
from sampling.candidates import candidate_count
from sampling.constraints import OVERLAP, Constraints
from sampling.draw import Drawn
from sampling.footprints import OccupancyIndex, first_come
from sampling.regions import Regions
from sampling.settled import Settled
from sampling.splits import hashed
from sampling.weights import LAND, weigh

_DECIMALS = 7
_EDGE_DEG = 0.25
# Tiles of two zones are compared in the plane of one zone, where straight lines of the other bend by less than this.
_BEND_M = 2.0
_MANY_TILES = 2_000_000  # more are looked at by lot, if few are wanted: to list a million takes some four seconds
_MARGIN = 8.0  # so many times what is wanted is in the first lot
_NORTH = ((0, 56), (56, 64), (64, 72), (72, 84))


@dataclass(frozen=True)
class Zone:
    """A rectangle of longitude and latitude (degrees) in which one UTM or UPS grid is used."""

    epsg: int
    west: float
    south: float
    east: float
    north: float

    def holds(self, lonlat: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether each point (n, 2), degrees, is in the zone, as its western and southern borders are: (n,) bool."""
        lon, lat = lonlat.T
        inside = (lon >= self.west) & (lon < self.east) & (lat >= self.south)
        return np.asarray(inside & ((lat < self.north) | (self.north == 90)))


def zones() -> Iterator[Zone]:
    """The grids of the Earth: UTM with the exceptions of Norway and Svalbard, UPS beyond 84 N and 80 S."""
    for number in range(1, 61):
        west = 6 * number - 186
        yield Zone(32700 + number, west, -80, west + 6, 0)
        for south, north in _NORTH:
            span = UNEVEN_ZONES.get((south, north), {}).get(number, (west, west + 6))
            if span is not None:
                yield Zone(32600 + number, span[0], south, span[1], north)
    yield Zone(32661, -180, 84, 180, 90)
    yield Zone(32761, -180, -90, 180, -80)


@dataclass(frozen=True)
class Tiles:
    """Tiles of one size: `row` (n,) of the area, `epsg` (n,), `centre_xy` (n, 2), metres, `lonlat` (n, 2), degrees."""

    row: NDArray[np.int64]
    epsg: NDArray[np.int64]
    centre_xy: NDArray[np.float64]
    lonlat: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.row)

    def take(self, which: NDArray[Any]) -> Tiles:
        """The tiles of a mask or of indices."""
        return Tiles(self.row[which], self.epsg[which], self.centre_xy[which], self.lonlat[which])


@dataclass(frozen=True)
class Lot:
    """The tiles whose number, drawn from their grid and position with `seed`, is below `share`: 1 takes all."""

    share: float = 1.0
    seed: int = 0

    def holds(self, epsg: int, centre_xy: NDArray[Any]) -> NDArray[np.bool_]:
        """Which tiles of a grid are drawn, from their centres (n, 2), metres: (n,) bool."""
        return np.asarray(_keys(np.full(len(centre_xy), epsg), centre_xy, self.seed) < self.share)


_ALL = Lot()


def tile(areas: Regions, side_m: float, lot: Lot = _ALL) -> Tiles:
    """Every tile of `side_m`, of those in the lot, whose centre lies in an area and in the zone of the tile's grid.

    Corners are multiples of `side_m` in the zone's metres. Where zones meet, tiles of two grids could overlap; the tile
    of the lower EPSG code stays. An area too small to contain a centre gets the tile that contains its inner point.
    """
    outlines = np.asarray(areas.frame.geometry.array)
    tiles = _joined([_in_zone(zone, outlines, side_m, lot) for zone in zones()])
    return _without_overlaps(_with_small_areas(tiles, outlines, side_m), side_m)


def _joined(parts: list[Tiles]) -> Tiles:
    columns = [[getattr(part, name) for part in parts] for name in ("row", "epsg", "centre_xy", "lonlat")]
    return Tiles(*(np.concatenate(column) for column in columns))


def _in_zone(zone: Zone, outlines: NDArray[Any], side_m: float, lot: Lot) -> Tiles:
    parts = [_none()]
    box = shapely.box(zone.west, zone.south, zone.east, zone.north)
    for row, outline in enumerate(outlines):
        for turn_deg in (-360.0, 0.0, 360.0):
            here = shapely.transform(outline, lambda xy, turn=turn_deg: xy + [turn, 0]) if turn_deg else outline
            if shapely.intersects(box, here):
                parts.append(_tiles_of(zone, row, shapely.intersection(box, here), side_m, lot))
    return _unique(_joined(parts))


def _none() -> Tiles:
    empty = np.empty(0, dtype=np.int64)
    return Tiles(empty, empty, np.empty((0, 2)), np.empty((0, 2)))


def _tiles_of(zone: Zone, row: int, outline: shapely.Geometry, side_m: float, lot: Lot) -> Tiles:
    """Tiles of the lot whose centre lies in an outline within the zone."""
    crs = f"EPSG:{zone.epsg}"
    edge = shapely.get_coordinates(shapely.segmentize(outline, _EDGE_DEG))
    xy = np.column_stack(to_crs(crs).transform(*edge.T))
    if zone.north == 90 or zone.south == -90:
        # An outline around the pole contains it, although no vertex is there.
        xy = np.concatenate([xy, [[2e6, 2e6]]]) if shapely.bounds(outline)[2] - shapely.bounds(outline)[0] > 180 else xy
    low, high = np.floor(xy.min(axis=0) / side_m) - 1, np.ceil(xy.max(axis=0) / side_m) + 1
    steps = np.meshgrid(*(np.arange(a, b) + 0.5 for a, b in zip(low, high, strict=True)))
    centre_xy = np.column_stack([step.ravel() for step in steps]) * side_m
    centre_xy = centre_xy[lot.holds(zone.epsg, centre_xy)]
    lonlat = _lonlat(zone.epsg, centre_xy)
    shapely.prepare(outline)
    inside = zone.holds(lonlat) & shapely.intersects_xy(outline, lonlat[:, 0], lonlat[:, 1])
    count = int(inside.sum())
    return Tiles(np.full(count, row), np.full(count, zone.epsg), centre_xy[inside], lonlat[inside])


def _lonlat(epsg: int, xy: NDArray[Any]) -> NDArray[np.float64]:
    lonlat = np.round(np.column_stack(to_lonlat(f"EPSG:{epsg}").transform(*xy.T)), _DECIMALS)
    lonlat[:, 0] = (lonlat[:, 0] + 180) % 360 - 180
    return lonlat


def _unique(tiles: Tiles) -> Tiles:
    """Each tile once: a tile in several areas belongs to the first of them."""
    keys = np.column_stack([tiles.epsg, np.round(tiles.centre_xy)])
    _, first = np.unique(keys, axis=0, return_index=True)
    return tiles.take(np.sort(first))


def _with_small_areas(tiles: Tiles, outlines: NDArray[Any], side_m: float) -> Tiles:
    """The tiles, and one more for each area without any."""
    without_tiles = sorted(set(range(len(outlines))) - set(tiles.row.tolist()))
    added = []
    for row in without_tiles:
        point = shapely.get_coordinates(shapely.point_on_surface(outlines[row]))
        point[:, 0] = (point[:, 0] + 180) % 360 - 180
        zone = next(zone for zone in zones() if zone.holds(point)[0])
        xy = np.column_stack(to_crs(f"EPSG:{zone.epsg}").transform(*point.T))
        centre_xy = (np.floor(xy / side_m) + 0.5) * side_m
        added.append(Tiles(np.array([row]), np.array([zone.epsg]), centre_xy, _lonlat(zone.epsg, centre_xy)))
    return _unique(_joined([tiles, *added]))


def _without_overlaps(tiles: Tiles, side_m: float) -> Tiles:
    tiles = tiles.take(np.lexsort((tiles.centre_xy[:, 0], tiles.centre_xy[:, 1], tiles.epsg)))
    first, second = pairs_within(tiles.lonlat, side_m * 1.5)
    other_zone = tiles.epsg[first] != tiles.epsg[second]
    first, second = first[other_zone], second[other_zone]
    overlap = _overlap(tiles, first, second, side_m)
    return tiles.take(first_come(len(tiles), first[overlap], second[overlap]))


def _overlap(tiles: Tiles, first: NDArray[Any], second: NDArray[Any], side_m: float) -> NDArray[np.bool_]:
    """Which pairs of tiles of two zones overlap, computed in the plane of the first tile's zone."""
    overlap = np.zeros(len(first), dtype=bool)
    for here, there in {(int(a), int(b)) for a, b in zip(tiles.epsg[first], tiles.epsg[second], strict=True)}:
        which = np.flatnonzero((tiles.epsg[first] == here) & (tiles.epsg[second] == there))
        second_corners = _corners(tiles.centre_xy[second[which]], side_m)
        lonlat = to_lonlat(f"EPSG:{there}").transform(*second_corners.reshape(-1, 2).T)
        projected = np.column_stack(to_crs(f"EPSG:{here}").transform(*lonlat)).reshape(-1, 4, 2)
        squares = shapely.polygons(_corners(tiles.centre_xy[first[which]], side_m))
        overlap[which] = shapely.dwithin(squares, shapely.polygons(projected), _BEND_M)
    return overlap


def _corners(centre_xy: NDArray[Any], side_m: float) -> NDArray[np.float64]:
    return centre_xy[:, None, :] + np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (side_m / 2)


def draw_tiles(areas: Regions, n: int, seed: int, constraints: Constraints, overdraw: float) -> Drawn:
    """At most `n` tiles, allocated to the areas by weight and room, in an order that `seed` shuffles.

    The order of two tiles does not depend on other areas. Settled places count towards `n`, and tiles that would
    overlap one are left out. Where millions of tiles are there for a few, a lot of them that is large enough is looked
    at, which holds the first tiles of that order. Raises `Fatal` when no tile is left.
    """
    share = _share(areas, n, constraints, overdraw)
    while share < 1:
        with suppress(Fatal):  # where the lot has no tile that is left, all of them may have one
            drawn = _draw(areas, n, Lot(share, seed), constraints, overdraw)
            if _is_enough(drawn, overdraw):
                return drawn
        share *= 4
    return _draw(areas, n, Lot(1.0, seed), constraints, overdraw)


def _share(areas: Regions, n: int, constraints: Constraints, overdraw: float) -> float:
    """The share of tiles that are looked at first: some times those that are wanted, of a number that takes long."""
    tiles = float(areas.frame["area_km2"].sum()) / (constraints.side_m / 1000) ** 2
    wanted = candidate_count(n, overdraw) + len(areas) * candidate_count(1, overdraw)
    return 1.0 if tiles < _MANY_TILES else min(1.0, _MARGIN * wanted / tiles)


def _is_enough(drawn: Drawn, overdraw: float) -> bool:
    """Whether every area has as many candidates as its quota asks for."""
    wanted = [candidate_count(quota.count, overdraw) for quota in drawn.allocation.quotas]
    return bool((np.bincount(drawn.row, minlength=len(wanted)) >= wanted).all()) and sum(wanted) > 0


def _draw(areas: Regions, n: int, lot: Lot, constraints: Constraints, overdraw: float) -> Drawn:
    settled = constraints.settled
    held = settled.per_region(areas)
    tiles, taken = _without_settled(tile(areas, constraints.side_m, lot), constraints)
    refused = {OVERLAP: np.bincount(taken, minlength=len(areas))}
    for reason, wrong in constraints.refusals(tiles.lonlat):
        refused[reason] = np.bincount(tiles.row[wrong], minlength=len(areas))
    wrong = np.any(
        [wrong for _, wrong in constraints.refusals(tiles.lonlat)] or [np.zeros(len(tiles), dtype=bool)], axis=0
    )
    tiles = tiles.take(~wrong)
    room = np.bincount(tiles.row, minlength=len(areas)) + held
    total = max(1, min(n - len(settled) + int(held.sum()), int(room.sum())))
    allocation = without(allocate(areas, total, weigh(areas, LAND), room, held), held)
    wanted = np.array([candidate_count(quota.count, overdraw) for quota in allocation.quotas])
    order = np.lexsort((_keys(tiles.epsg, tiles.centre_xy, lot.seed), tiles.row))
    rank = np.arange(len(order)) - np.searchsorted(tiles.row[order], tiles.row[order])
    chosen = order[rank < wanted[tiles.row[order]]]
    return Drawn(tiles.row[chosen], tiles.lonlat[chosen], allocation, refused, np.zeros(len(areas), dtype=bool))


def _without_settled(tiles: Tiles, constraints: Constraints) -> tuple[Tiles, NDArray[np.int64]]:
    """The tiles that are not settled and have room beside places that are none, and the areas (n,) of those without.

    Tiles touch each other, which places of other shapes may not.
    """
    settled = constraints.settled
    new = tiles.take(~settled.knows(tiles.lonlat))
    if constraints.may_overlap:
        return new, np.empty(0, dtype=np.int64)
    others = ~Settled(tiles.lonlat).knows(settled.lonlat)
    ground = OccupancyIndex(constraints.side_m)
    ground.occupy(settled.lonlat[others])
    crowded = ground.overlaps(new.lonlat)
    return new.take(~crowded), new.row[crowded]


def _keys(epsg: NDArray[Any], centre_xy: NDArray[Any], seed: int) -> NDArray[np.float64]:
    """A pseudo-random number (n,) from 0 to 1 for each tile, from its grid and position."""
    x, y = np.floor(centre_xy.T).astype(np.int64)
    return hashed((epsg * 2**24 + x // 10) * 2**24 + y // 10, seed)
