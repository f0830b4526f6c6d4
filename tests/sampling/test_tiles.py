"""Tiles have one size, each in its own zone, none overlaps another, and their grids come back from their centres."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod, Transformer
from shapely import box

from pipeline.grid import Grid, utm_crs
from pipeline.radius_index import chord_m, pairs_within
from sampling.constraints import Constraints
from sampling.regions import Regions, prepare_areas
from sampling.tiles import Tiles, draw_tiles, tile, zones

SIDE_M = 4480.0
SEAMS = {
    "two zones": box(5.4, 40, 6.6, 40.6),
    "the equator": box(-64, -0.3, -63, 0.3),
    "the antimeridian": box(179.5, -17, 180.5, -16.5),
    "Norway": box(2.5, 55.7, 3.5, 56.3),
    "Svalbard": box(8.5, 77.8, 9.5, 78.2),
    "UTM and UPS, north": box(-35, 83.8, -30, 84.2),
    "UTM and UPS, south": box(100, -80.2, 103, -79.8),
}


def areas(*polygons: shapely.Polygon) -> Regions:
    return prepare_areas(gpd.GeoDataFrame(geometry=list(polygons), crs=4326), "areas")


def outlines(tiles: Tiles, lonlat: tuple[float, float]) -> np.ndarray:
    """Tiles as polygons of 32 corners in one azimuthal plane round a place."""
    plane = Transformer.from_crs(4326, f"+proj=aeqd +lon_0={lonlat[0]} +lat_0={lonlat[1]} +ellps=WGS84", always_xy=True)
    result = []
    for row in range(len(tiles)):
        grid = Grid.around(tuple(tiles.lonlat[row]), f"EPSG:{tiles.epsg[row]}", 448)
        ring = shapely.segmentize(shapely.box(*grid.bounds_xy), SIDE_M / 8)
        there = Transformer.from_crs(int(tiles.epsg[row]), 4326, always_xy=True)
        lon, lat = there.transform(*shapely.get_coordinates(ring).T)
        result.append(shapely.Polygon(np.column_stack(plane.transform(lon, lat))))
    return np.array(result)


@pytest.mark.parametrize("name", SEAMS)
def test_no_two_tiles_overlap_where_grids_meet(name: str) -> None:
    """By exact outlines in a plane of their middle; gaps at the seam stay narrower than a tile and a half."""
    seam = SEAMS[name]
    tiles = tile(areas(seam), SIDE_M)
    assert len(set(tiles.epsg.tolist())) > 1
    shapes = outlines(tiles, (seam.centroid.x, seam.centroid.y))
    first, second = np.triu_indices(len(shapes), 1)
    near = shapely.dwithin(shapes[first], shapes[second], 100)
    shared_m2 = shapely.area(shapely.intersection(shapes[first[near]], shapes[second[near]]))
    assert shared_m2.max() < 1.0
    assert len(tiles) * SIDE_M**2 / 1e6 > 0.75 * areas(seam).frame["area_km2"][0]


@settings(max_examples=40, deadline=None)
@given(st.floats(-180, 179), st.floats(-89.5, 89), st.sampled_from([128, 448, 64]))
def test_grids_come_back_from_centres(west: float, south: float, size_px: int) -> None:
    tiles = tile(areas(box(west, south, west + 0.2, south + 0.1)), size_px * 10.0)
    for row in range(min(len(tiles), 40)):
        lonlat = tuple(tiles.lonlat[row].tolist())
        assert utm_crs(lonlat) == f"EPSG:{tiles.epsg[row]}"
        grid = Grid.around(lonlat, utm_crs(lonlat), size_px)
        assert np.all(np.mod(grid.origin_xy, size_px * 10) == 0), "corners are multiples of the side"
        assert np.allclose(grid.bounds_xy[:2], tiles.centre_xy[row] - size_px * 5, atol=0)


def test_no_tile_is_off_size_across_a_continent() -> None:
    """One zone for a continent made tiles of 4427 m; in their own zones all are within 0.11 % of 4480 m."""
    tiles = tile(areas(box(-124, 40, -70, 40.2)), SIDE_M)
    geod, lengths = Geod(ellps="WGS84"), []
    for row in range(len(tiles)):
        ring = Grid.around(tuple(tiles.lonlat[row]), f"EPSG:{tiles.epsg[row]}", 448).footprint()
        lengths.append(geod.geometry_length(ring) / 4)
    assert 0.9989 * SIDE_M < min(lengths) and max(lengths) < 1.0011 * SIDE_M
    first, second = pairs_within(tiles.lonlat, SIDE_M)
    assert chord_m(tiles.lonlat[first], tiles.lonlat[second]).min() > 0.9989 * SIDE_M


def test_tiny_areas_get_the_tile_that_holds_them_and_shared_tiles_belong_once() -> None:
    speck = box(50.001, 10.001, 50.002, 10.002)
    tiles = tile(areas(box(20, 10, 21, 11), box(20.5, 10, 21.5, 11), speck), SIDE_M)
    assert np.bincount(tiles.row)[2] == 1
    assert len(np.unique(tiles.lonlat, axis=0)) == len(tiles)


def test_the_pole_is_tiled() -> None:
    tiles = tile(areas(box(-180, 89.5, 180, 90)), SIDE_M)
    assert set(tiles.epsg.tolist()) == {32661}
    assert len(tiles) == pytest.approx(areas(box(-180, 89.5, 180, 90)).frame["area_km2"][0] / 20.07, rel=0.03)


def test_zones_hold_every_place_once() -> None:
    generator = np.random.default_rng(0)
    lonlat = np.column_stack([generator.uniform(-180, 180, 4000), generator.uniform(-90, 90, 4000)])
    held = np.array([zone.holds(lonlat) for zone in zones()])
    codes = np.array([zone.epsg for zone in zones()])
    assert (held.sum(axis=0) == 1).all()
    assert [f"EPSG:{codes[row]}" for row in held.argmax(axis=0)] == [utm_crs(tuple(place)) for place in lonlat.tolist()]


def test_fewer_tiles_are_a_part_of_more() -> None:
    table = areas(box(5, 40, 6.5, 41), box(20, 10, 21, 11))
    some, all_ = (draw_tiles(table, n, 1, Constraints(SIDE_M), 1.0) for n in (200, 10_000))
    assert some.allocation.total == 200 and all_.allocation.total == len(tile(table, SIDE_M))
    for row, quota in enumerate(some.allocation.quotas):
        few = some.lonlat[some.row == row][: quota.count]
        assert np.array_equal(all_.lonlat[all_.row == row][: quota.count], few)


def test_a_lot_of_millions_of_tiles_holds_the_first_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few tiles of many are the same whether all were listed or not, in each area, and so are the quotas."""
    table, terms = areas(box(0.5, 40, 5.5, 43), box(20, 10, 21, 11)), Constraints(SIDE_M)
    all_ = draw_tiles(table, 40, 1, terms, 1.5)
    monkeypatch.setattr("sampling.tiles._MANY_TILES", 100)
    listed: list[int] = []
    monkeypatch.setattr("sampling.tiles.tile", lambda *given: listed.append(len(found := tile(*given))) or found)
    few = draw_tiles(table, 40, 1, terms, 1.5)
    assert np.array_equal(few.lonlat, all_.lonlat) and few.allocation.counts == all_.allocation.counts
    assert 0 < sum(listed) < 0.5 * len(tile(table, SIDE_M))


def test_a_lot_that_is_too_small_becomes_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    table = areas(box(0.5, 40, 5.5, 43), box(20, 10, 20.2, 10.2))
    all_ = draw_tiles(table, 1000, 1, Constraints(SIDE_M), 1.5)
    monkeypatch.setattr("sampling.tiles._MANY_TILES", 100)
    monkeypatch.setattr("sampling.tiles._MARGIN", 0.05)
    few = draw_tiles(table, 1000, 1, Constraints(SIDE_M), 1.5)
    assert np.array_equal(few.lonlat, all_.lonlat)
