"""A person's own table of points, however they spell it, becomes locations or one clear refusal."""

from datetime import UTC, date, datetime
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely import LineString, Point, Polygon, box

from pipeline.errors import Fatal
from pipeline.own_columns import BOOLEAN, DATE, FLOAT, INTEGER, TEXT, TIME
from sampling.own_names import kept_names
from sampling.points import read_points

POINTS = [(10.5, 50.25), (-179.5, -16.0)]


def frame(lon: str, lat: str) -> pd.DataFrame:
    return pd.DataFrame({"name": ["a", "b"], lat: [y for _, y in POINTS], lon: [x for x, _ in POINTS]})


@pytest.mark.parametrize(("lon", "lat"), [("lon", "lat"), ("Longitude", "Latitude"), ("lng", "lat"), ("x", "y")])
def test_columns_by_their_common_names(tmp_path: Path, lon: str, lat: str) -> None:
    frame(lon, lat).to_csv(tmp_path / "points.csv", index=False)
    frame(lon, lat).to_csv(tmp_path / "points.tsv", index=False, sep="\t")
    frame(lon, lat).to_parquet(tmp_path / "points.parquet")
    for name in ("points.csv", "points.tsv", "points.parquet"):
        assert read_points(tmp_path / name).lonlat.tolist() == [list(place) for place in POINTS]


@pytest.mark.parametrize("name", ["points.geojson", "points.gpkg", "points.parquet"])
def test_geometry_in_any_known_crs(tmp_path: Path, name: str) -> None:
    places = gpd.GeoDataFrame(geometry=[Point(*place) for place in POINTS], crs="EPSG:4326")
    places = places if name.endswith("json") else places.to_crs("EPSG:3857")
    places.to_parquet(tmp_path / name) if name.endswith("parquet") else places.to_file(tmp_path / name)
    assert read_points(tmp_path / name).lonlat.tolist() == [list(place) for place in POINTS]


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


def test_absent_file_and_lines_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="none.csv does not exist"):
        read_points(tmp_path / "none.csv")
    gpd.GeoDataFrame(geometry=[LineString([(0, 0), (1, 1)])], crs="EPSG:4326").to_file(tmp_path / "roads.gpkg")
    with pytest.raises(Fatal, match="row 1 of .*roads.gpkg is a LineString; give points or polygons"):
        read_points(tmp_path / "roads.gpkg")
    gpd.GeoDataFrame(geometry=[Point(0, 0)]).to_parquet(tmp_path / "nowhere.parquet")
    with pytest.raises(Fatal, match="nowhere.parquet has no CRS"):
        read_points(tmp_path / "nowhere.parquet")


@pytest.mark.parametrize(
    ("places", "hint"),
    [
        (
            [(36.6, -100.0), (5.0, 50.0), (-3.0, 120.0)],
            r"\(2 such rows\); lon and lat look exchanged, as \|lat\| > 90 in 2 of 3",
        ),
        ([(500000.0, 5500000.0), (300000.0, 12.0)], "these look like metres of a projected CRS: give degrees"),
        ([(36.6, -100.0), (95.0, 50.0)], r"\(1 such rows\); correct or remove it"),
    ],
)
@pytest.mark.parametrize("name", ["points.csv", "points.geojson"])
def test_coordinates_that_look_like_something_else(
    tmp_path: Path, places: list[tuple[float, float]], hint: str, name: str
) -> None:
    if name.endswith("csv"):
        pd.DataFrame(places, columns=["lon", "lat"]).to_csv(tmp_path / name, index=False)
    else:
        gpd.GeoDataFrame(geometry=[Point(*place) for place in places], crs="EPSG:4326").to_file(tmp_path / name)
    with pytest.raises(Fatal, match=hint):
        read_points(tmp_path / name)


CSV = """id,lat,lon,level,plot,yield_t,code,irrigated,sown,seen,country,note
a1,-0.9,36.6,low,1,1.5,007,true,2019-04-01,2019-04-01T10:00:00Z,NA,"two
lines"
a2,-0.8,36.7,high,,NA,012,FALSE,,2019-05-01T10:00:00+02:00,KE,
a3,-0.7,36.8,low,3,2,100,true,2019-06-01,,TZ,x
"""
KINDS = {"own_id": TEXT, "own_level": TEXT, "plot": INTEGER, "yield_t": FLOAT, "code": TEXT, "irrigated": BOOLEAN,
         "sown": DATE, "seen": TIME, "country": TEXT, "note": TEXT}  # fmt: skip


def test_all_columns_are_kept_with_the_type_that_all_their_cells_have(tmp_path: Path) -> None:
    (tmp_path / "plots.csv").write_text(CSV)
    points = read_points(tmp_path / "plots.csv")
    assert dict(zip(points.own.column_names, points.own.schema.types, strict=True)) == KINDS
    rows = points.own.to_pylist()
    assert [row["own_id"] for row in rows] == ["a1", "a2", "a3"]
    assert [row["code"] for row in rows] == ["007", "012", "100"], "names keep their zeros"
    assert [row["country"] for row in rows] == ["NA", "KE", "TZ"], "Namibia is no empty cell"
    assert [row["plot"] for row in rows] == [1, None, 3] and [row["yield_t"] for row in rows] == [1.5, None, 2]
    assert rows[0]["sown"] == date(2019, 4, 1) and rows[1]["seen"] == datetime(2019, 5, 1, 8, tzinfo=UTC)
    assert [row["note"] for row in rows] == ["two\nlines", None, "x"]
    assert points.notes == (
        f"column id of {tmp_path}/plots.csv is kept as own_id: the manifest has a column id itself.",
        f"column level of {tmp_path}/plots.csv is kept as own_level: the manifest has a column level itself.",
    )


@pytest.mark.parametrize("name", ["plots.parquet", "plots.gpkg", "plots.geojson"])
def test_types_of_other_formats_stay(tmp_path: Path, name: str) -> None:
    frame = gpd.GeoDataFrame(
        {"crop": ["maize", None], "count": pd.array([2**40, None], "Int64"), "share": [0.5, None], "level": ["a", "b"],
         "sown": [date(2019, 4, 1), date(2019, 5, 1)], "lon": [1, 2], "dry": pd.array([True, False])},
        geometry=[Point(*place) for place in POINTS], crs="EPSG:4326",
    )  # fmt: skip
    frame.to_parquet(tmp_path / name) if name.endswith("parquet") else frame.to_file(tmp_path / name, use_arrow=True)
    own = read_points(tmp_path / name).own
    assert own.to_pydict() == {
        "crop": ["maize", None], "count": [2**40, None], "share": [0.5, None], "own_level": ["a", "b"],
        "sown": [date(2019, 4, 1), date(2019, 5, 1)], "own_lon": [1, 2], "dry": [True, False],
    }  # fmt: skip


def test_cells_that_no_number_or_date_holds_stay_as_they_are(tmp_path: Path) -> None:
    rows = ["\ufefflon,lat,barcode,,day,big", "1,2,12345678901234567890,7,2019-02-30,1e400", "3,4,1,8,2019-02-01,2.5"]
    (tmp_path / "plots.csv").write_text("\n".join(rows), encoding="utf-8")
    assert read_points(tmp_path / "plots.csv").own.to_pydict() == {
        "barcode": ["12345678901234567890", "1"], "column_4": [7, 8], "day": ["2019-02-30", "2019-02-01"],
        "big": [float("inf"), 2.5],
    }  # fmt: skip


def test_a_column_that_cannot_be_kept_is_named(tmp_path: Path) -> None:
    frame = pd.DataFrame({"lon": [1.0], "lat": [2.0], "tags": [["a", "b"]], "crop": ["tea"]})
    frame.to_parquet(tmp_path / "plots.parquet")
    points = read_points(tmp_path / "plots.parquet")
    assert points.own.column_names == ["crop"]
    assert "column tags of" in points.notes[0] and "is left out" in points.notes[0]


@given(st.lists(st.sampled_from(["id", "ID", "own_id", "own_own_ID", "crop", "Crop_2", "level", "reason", "row"]),
                unique_by=str.lower))  # fmt: skip
def test_kept_names_are_free_and_differ(names: list[str]) -> None:
    kept = kept_names(names)
    lowered = [name.lower() for name in kept.values()]
    assert len(set(lowered)) == len(names) and not set(lowered) & {"id", "level", "reason", "row"}
    assert all(new.endswith(old) for old, new in kept.items())
    assert all(new == old for old, new in kept.items() if old.lower() in ("own_id", "crop", "crop_2"))


def test_a_split_of_its_own_is_read_and_a_strange_one_named(tmp_path: Path) -> None:
    (tmp_path / "plots.csv").write_text("lon,lat,Split\n1,2,train\n3,4,VAL\n5,6,test\n")
    points = read_points(tmp_path / "plots.csv")
    assert points.split is not None and points.split.tolist() == ["train", "val", "test"]
    assert points.own.column_names == []
    (tmp_path / "plots.csv").write_text("lon,lat,split\n1,2,train\n3,4,holdout\n5,6,\n")
    with pytest.raises(Fatal, match="row 2 of .*plots.csv has split 'holdout'; write one of train, val, test in every"):
        read_points(tmp_path / "plots.csv")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("date\n2019-04-01\n1.4.2019\n", "row 2 of .* has date '1.4.2019'; write it as 2019-04-01, or rename"),
        ("date\n2019-04-01\n2019-02-30\n", "row 2 of .* has date '2019-02-30'"),
        ("date\n2019\n2020\n", "row 1 of .* has date 2019;"),
        ("start,end\n2019-04-01,2019-05-01\n2019-04-01,\n", "row 2 of .* has a start without an end"),
        ("start,end\n2019-05-02,2019-05-01\n,\n", "row 1 of .* has an end before its start"),
        ("date,start,end\n2019-06-01,2019-04-01,2019-05-01\n,,\n", "row 1 of .* has a date outside its start and end"),
    ],
)
def test_dates_that_are_none_are_refused(tmp_path: Path, text: str, says: str) -> None:
    lines = text.splitlines()
    rows = [f"lon,lat,{lines[0]}", *(f"{number},5,{line}" for number, line in enumerate(lines[1:]))]
    (tmp_path / "plots.csv").write_text("\n".join(rows))
    with pytest.raises(Fatal, match=says):
        read_points(tmp_path / "plots.csv")


def test_dates_are_days_whatever_they_were(tmp_path: Path) -> None:
    (tmp_path / "plots.csv").write_text(
        "lon,lat,Date,START,end\n1,2,2019-04-01T23:59:00Z,,\n3,4,,2019-04-01,2019-04-02\n"
    )
    own = read_points(tmp_path / "plots.csv").own
    assert own.to_pydict() == {
        "date": [date(2019, 4, 1), None], "start": [None, date(2019, 4, 1)], "end": [None, date(2019, 4, 2)],
    }  # fmt: skip
    pd.DataFrame({"lon": [1.0], "lat": [2.0], "date": ["2019-04-01"]}).to_parquet(tmp_path / "texts.parquet")
    assert read_points(tmp_path / "texts.parquet").own.to_pydict() == {"date": [date(2019, 4, 1)]}
    (tmp_path / "half.csv").write_text("lon,lat,start\n1,2,7\n")
    assert read_points(tmp_path / "half.csv").own.to_pydict() == {"start": [7]}, "a start alone is a column like others"


def test_the_centre_of_a_polygon_is_its_place_and_its_outline_is_kept(tmp_path: Path) -> None:
    horseshoe = Polygon([(0, 0), (3, 0), (3, 3), (2, 3), (2, 1), (1, 1), (1, 3), (0, 3)])
    across = Polygon([(179, 0), (180.5, 0), (180.5, 1), (179, 1)])
    frame = gpd.GeoDataFrame({"crop": ["a", "b", "c"], "outline": [1, 2, 3]}, geometry=[box(10, 20, 11, 21), horseshoe,
                             across], crs="EPSG:4326")  # fmt: skip
    frame.to_file(tmp_path / "fields.gpkg")
    points = read_points(tmp_path / "fields.gpkg")
    assert points.own.column_names == ["crop", "own_outline", "outline"]
    outlines = shapely.from_wkb(points.own.column("outline").to_pylist())
    assert points.lonlat[0].tolist() == [10.5, 20.5] and points.lonlat[2].tolist() == [179.75, 0.5]
    assert outlines[1].contains(Point(points.lonlat[1])) and not horseshoe.contains(horseshoe.centroid)
    assert outlines[0].equals(box(10, 20, 11, 21))
