"""Grids: on the lattice, around their point, true to the ground, in the right zone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod
from shapely import Point

from pipeline.grid import Grid, mgrs_crs, to_lonlat, utm_crs

lonlats = st.tuples(st.floats(-180, 180), st.floats(-89.9, 89.9))
land_lonlats = st.tuples(st.floats(-180, 180), st.floats(-79, 83))


@given(lonlats, st.sampled_from([16, 128, 129, 448]))
def test_a_grid_is_on_the_lattice_and_centred(lonlat: tuple[float, float], size_px: int) -> None:
    grid = Grid.around(lonlat, utm_crs(lonlat), size_px)
    assert all(metres % 10 == 0 for metres in grid.origin_xy)
    _, _, distance_m = Geod(ellps="WGS84").inv(*lonlat, *grid.centre_lonlat)
    assert distance_m < 10.2, "at most half a pixel's diagonal, and the grid's scale"


def test_centres_of_pixels_are_where_the_transform_puts_them() -> None:
    grid = Grid("EPSG:32632", (500_000.0, 5_300_000.0), (2, 3), 20.0)
    y, x = grid.centres_yx
    assert (y.tolist(), x.tolist()) == ([5_299_990.0, 5_299_970.0], [500_010.0, 500_030.0, 500_050.0])


@given(land_lonlats)
def test_a_chip_is_1280_m_wide_on_the_ground(lonlat: tuple[float, float]) -> None:
    grid = Grid.around(lonlat, utm_crs(lonlat))
    left, bottom, right, top = grid.bounds_xy
    ends = to_lonlat(grid.crs).transform([left, right], [(top + bottom) / 2] * 2)
    _, _, width_m = Geod(ellps="WGS84").inv(ends[0][0], ends[1][0], ends[0][1], ends[1][1])
    assert 1277 < width_m < 1283


@given(land_lonlats)
def test_the_footprint_contains_the_point(lonlat: tuple[float, float]) -> None:
    footprint = Grid.around(lonlat, utm_crs(lonlat)).footprint()
    assert footprint.is_valid
    assert any(footprint.contains(Point(lonlat[0] + turn, lonlat[1])) for turn in (-360, 0, 360))


@pytest.mark.parametrize(
    ("lonlat", "crs"),
    [
        ((7.5, 45.5), "EPSG:32632"),
        ((5.3, 60.4), "EPSG:32632"),  # Bergen: zone 32 reaches west
        ((2.9, 60.4), "EPSG:32631"),
        ((15.6, 78.2), "EPSG:32633"),  # Longyearbyen
        ((21.5, 78.0), "EPSG:32635"),
        ((-70.6, -33.4), "EPSG:32719"),
        ((180.0, 0.0), "EPSG:32601"),
        ((0.0, -85.0), "EPSG:32761"),
        ((0.0, 85.0), "EPSG:32661"),
    ],
)
def test_zones(lonlat: tuple[float, float], crs: str) -> None:
    assert utm_crs(lonlat) == crs


@pytest.mark.parametrize(("tile", "crs"), [("32TQM", "EPSG:32632"), ("18HXA", "EPSG:32718"), ("1CDE", "EPSG:32701")])
def test_a_tile_names_its_crs(tile: str, crs: str) -> None:
    assert mgrs_crs(tile) == crs


def zone_by_rule(lon: int, lat: int) -> int:
    """The rule as it is usually written down."""
    if 56 <= lat < 64 and 3 <= lon < 12:
        return 32
    if 72 <= lat < 84 and 0 <= lon < 42:
        return 31 if lon < 9 else 33 if lon < 21 else 35 if lon < 33 else 37
    return (lon + 180) // 6 + 1


def test_every_degree_is_in_the_zone_of_the_rule() -> None:
    for lon in range(-180, 180):
        for lat in (-60, 0, 55, 56, 60, 63, 64, 71, 72, 78, 83):
            assert utm_crs((lon, lat)) == f"EPSG:{(32600 if lat >= 0 else 32700) + zone_by_rule(lon, lat)}", (lon, lat)
