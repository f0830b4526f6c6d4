"""What is excluded stays clear by the distance asked for, wherever on Earth, and not by much more."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod
from shapely import LineString, Point, box

from pipeline.errors import Fatal
from sampling.exclusion import Exclusion, read_exclusion

GEOD = Geod(ellps="WGS84")


@settings(max_examples=60, deadline=None)
@given(st.floats(-180, 180), st.floats(-90, 90), st.floats(50, 400_000))
def test_a_point_is_excluded_by_its_distance(lon: float, lat: float, distance_m: float) -> None:
    exclusion = Exclusion.around(np.array([Point(lon, lat)]), distance_m)
    bearings = np.linspace(0, 360, 73)
    for factor, inside in ((0.999, True), (1.02, False)):
        there = GEOD.fwd(lon + 0 * bearings, lat + 0 * bearings, bearings, factor * distance_m + 0 * bearings)
        held = exclusion.holds(np.column_stack(there[:2]))
        near_pole = 90 - abs(lat) < 2 * distance_m / 111_000
        assert held.all() if inside else (near_pole or not held.any())


@pytest.mark.parametrize("west", [10.0, 179.9, -180.0])
@pytest.mark.parametrize("south", [0.0, 60.0, -79.0])
def test_areas_and_lines_are_excluded_with_their_buffer(west: float, south: float) -> None:
    area = box(west, south, west + 0.2, south + 0.1)
    exclusion = Exclusion.around(np.array([area, LineString([(west + 5, south), (west + 5, south + 1)])]), 5000)
    metre_deg = 1 / (111_320 * np.cos(np.radians(south + 0.05)))
    for beyond_m, inside in ((-100, True), (4900, True), (5150, False)):
        lon = (west + 0.2 + beyond_m * metre_deg + 180) % 360 - 180
        assert exclusion.holds(np.array([[lon, south + 0.05]])).all() == inside
    assert exclusion.holds(np.array([[(west + 5 + 180) % 360 - 180, south + 0.5]])).all()


def test_files_of_any_kind_and_crs(tmp_path: Path) -> None:
    footprints = gpd.GeoDataFrame(geometry=[box(10, 50, 10.1, 50.1)], crs=4326)
    footprints.to_crs(32632).to_file(tmp_path / "a.gpkg")
    gpd.GeoDataFrame(geometry=[Point(30, 50)], crs=4326).to_parquet(tmp_path / "b.parquet")
    result = read_exclusion([tmp_path / "a.gpkg", tmp_path / "b.parquet"], 1000, 1280)
    assert result is not None
    # A buffer of 1000 m, half the diagonal of 1280 m, and 10 m for the lattice: 1915 m.
    north_deg = np.array([1800, 2100]) / 111_250
    assert result.holds(np.column_stack([[10.05, 10.05], 50.1 + north_deg])).tolist() == [True, False]
    assert result.holds(np.array([[30.0, 50.0], [20.0, 50.0]])).tolist() == [True, False]
    assert read_exclusion([], 1000, 1280) is None


def test_refusals(tmp_path: Path) -> None:
    gpd.GeoDataFrame(geometry=[Point(0, 0)]).to_parquet(tmp_path / "bare.parquet")
    with pytest.raises(Fatal, match="bare.parquet has no CRS"):
        read_exclusion([tmp_path / "bare.parquet"], 0, 1280)
    with pytest.raises(Fatal, match="none.gpkg does not exist"):
        read_exclusion([tmp_path / "none.gpkg"], 0, 1280)
    gpd.GeoDataFrame(geometry=[None], crs=4326).to_file(tmp_path / "empty.gpkg")
    with pytest.raises(Fatal, match="no footprints to exclude"):
        read_exclusion([tmp_path / "empty.gpkg"], 0, 1280)
