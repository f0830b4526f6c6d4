"""A person's own table of points, however they spell it, becomes locations or one clear refusal."""

from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
from shapely import Point, box

from pipeline.errors import Fatal
from pipeline.location import location_id
from sampling.points import read_points
from tests.sampling.region_tables import regions

POINTS = [(10.5, 50.25), (-179.5, -16.0)]


def frame(lon: str, lat: str) -> pd.DataFrame:
    return pd.DataFrame({"name": ["a", "b"], lat: [y for _, y in POINTS], lon: [x for x, _ in POINTS]})


@pytest.mark.parametrize(("lon", "lat"), [("lon", "lat"), ("Longitude", "Latitude"), ("lng", "lat"), ("x", "y")])
def test_columns_by_their_common_names(tmp_path: Path, lon: str, lat: str) -> None:
    frame(lon, lat).to_csv(tmp_path / "points.csv", index=False)
    frame(lon, lat).to_csv(tmp_path / "points.tsv", index=False, sep="\t")
    frame(lon, lat).to_parquet(tmp_path / "points.parquet")
    for name in ("points.csv", "points.tsv", "points.parquet"):
        assert [item.lonlat for item in read_points(tmp_path / name)] == POINTS


@pytest.mark.parametrize("name", ["points.geojson", "points.gpkg", "points.parquet"])
def test_geometry_in_any_known_crs(tmp_path: Path, name: str) -> None:
    places = gpd.GeoDataFrame(geometry=[Point(*place) for place in POINTS], crs="EPSG:4326")
    places = places if name.endswith("json") else places.to_crs("EPSG:3857")
    places.to_parquet(tmp_path / name) if name.endswith("parquet") else places.to_file(tmp_path / name)
    assert [item.lonlat for item in read_points(tmp_path / name)] == POINTS


def test_each_point_has_its_own_stratum_and_its_region(tmp_path: Path) -> None:
    frame("lon", "lat").to_csv(tmp_path / "points.csv", index=False)
    result = read_points(tmp_path / "points.csv", regions([box(10, 50, 11, 51)], [4]))
    assert [item.id for item in result] == [location_id(*place) for place in POINTS]
    assert len({item.stratum for item in result}) == 2
    assert [(item.biome, item.ecoregion_name) for item in result] == [(4, "region 1"), (0, "")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name,where\na,b\n", "lacks columns lon and lat; it has name, where"),
        ("lon,lat\n", "has no points"),
        ("", "cannot be read"),
        ("lon,lat\n1,2\n1,91\n", "row 2 of .*points.csv has a latitude outside"),
        ("lon,lat\n181,2\n", "row 1 of .* has a longitude outside"),
        ("lon,lat\n1,2\n3,north\n", "row 2 of .* has no coordinates"),
        ("lon,lat\n1,2\n3,4\n1,2\n", "rows 1 and 3 of .* are the same place"),
    ],
)
def test_refusals_name_file_and_row(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "points.csv").write_text(text)
    with pytest.raises(Fatal, match=says):
        read_points(tmp_path / "points.csv")


def test_absent_file_and_polygons_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="none.csv does not exist"):
        read_points(tmp_path / "none.csv")
    gpd.GeoDataFrame(geometry=[box(0, 0, 1, 1)], crs="EPSG:4326").to_file(tmp_path / "areas.gpkg")
    with pytest.raises(Fatal, match="row 1 of .*areas.gpkg is no point"):
        read_points(tmp_path / "areas.gpkg")
