"""Region files are checked, reprojected and repaired, and every refusal names the file and the fault."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from shapely import Geometry, MultiPolygon, Polygon, box

from pipeline.errors import Fatal
from sampling.regions import lookup, prepare_regions, read_region_file, repaired, write_regions
from tests.sampling.region_tables import regions, table


def test_any_vector_file_is_read(tmp_path: Path) -> None:
    table([box(0, 0, 1, 1), box(2, 0, 3, 1)], [3, 1]).to_file(tmp_path / "a.gpkg")
    assert list(read_region_file(tmp_path / "a.gpkg").frame["stratum"]) == ["eco-001", "eco-002"]


def test_another_crs_is_reprojected() -> None:
    there = prepare_regions(table([box(3, 40, 4, 41)]).to_crs("EPSG:3857"), "mercator")
    here = regions([box(3, 40, 4, 41)])
    assert there.frame.geometry[0].equals_exact(here.frame.geometry[0], 1e-9)


def test_missing_columns_are_named(tmp_path: Path) -> None:
    table([box(0, 0, 1, 1)]).drop(columns=["REALM", "ECO_ID"]).to_file(tmp_path / "poor.geojson")
    with pytest.raises(Fatal, match=r"poor.geojson lacks the columns REALM, ECO_ID"):
        read_region_file(tmp_path / "poor.geojson")


def test_missing_crs_is_refused() -> None:
    with pytest.raises(Fatal, match="has no CRS"):
        prepare_regions(table([box(0, 0, 1, 1)], crs=None), "bare.shp")


def test_empty_absent_unreadable_and_tabular_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="has no regions"):
        prepare_regions(table([box(0, 0, 1, 1)]).iloc[:0], "empty.gpkg")
    with pytest.raises(Fatal, match="absent.gpkg does not exist"):
        read_region_file(tmp_path / "absent.gpkg")
    (tmp_path / "broken.gpkg").write_text("no map")
    with pytest.raises(Fatal, match="broken.gpkg cannot be read"):
        read_region_file(tmp_path / "broken.gpkg")
    (tmp_path / "plain.csv").write_text("ECO_NAME,BIOME_NUM\na,1\n")
    with pytest.raises(Fatal, match="plain.csv has no geometry"):
        read_region_file(tmp_path / "plain.csv")


def test_rock_and_ice_is_left_out_and_said() -> None:
    frame = table([box(column, 0, column + 1, 1) for column in range(4)], [11, 11, 99, 14])
    frame.loc[0, "ECO_NAME"], frame.loc[0, "BIOME_NAME"] = "Rock and Ice", "N/A"
    result = prepare_regions(frame, "a table")
    assert list(result.frame["ECO_ID"]) == [2, 4]
    assert result.notes == ("2 regions without a biome left out: Rock and Ice, region 3.",)
    names = dict(zip(result.frame["BIOME_NUM"], result.frame["BIOME_NAME"], strict=True))
    assert names == {11: "biome 11", 14: "biome 14"}


def test_nothing_usable_is_refused() -> None:
    with pytest.raises(Fatal, match="no region with an area and a biome"):
        prepare_regions(table([box(0, 0, 1, 1)], [99]), "ice.gpkg")


def test_invalid_rings_are_repaired_and_said() -> None:
    bow_tie = Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    result = regions([bow_tie])
    assert result.frame.geometry.is_valid.all() and result.notes == ("1 region with invalid rings repaired.",)


HOLE = box(5, 5, 6, 6)
OUTSIDE, AROUND = (Polygon(box(*bounds).exterior, [HOLE.exterior]) for bounds in ((0, 0, 2, 2), (4, 4, 8, 8)))
BOW_TIE = Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
TRIANGLES = MultiPolygon([Polygon([(0, 0), (1, 1), (0, 2)]), Polygon([(2, 0), (2, 2), (1, 1)])])


@pytest.mark.parametrize(
    ("broken", "land"),
    [
        (OUTSIDE, box(0, 0, 2, 2)),
        (MultiPolygon([OUTSIDE, box(4, 4, 8, 8)]), MultiPolygon([box(0, 0, 2, 2), AROUND])),
        (Polygon(box(0, 0, 2, 2).exterior, [box(1, 1, 3, 3).exterior]), box(0, 0, 2, 2).difference(box(1, 1, 3, 3))),
        (BOW_TIE, TRIANGLES),
    ],
    ids=["hole outside", "hole of the other part", "hole over the edge", "bow tie"],
)
def test_no_hole_becomes_land(broken: Geometry, land: Geometry) -> None:
    assert repaired(np.array([broken]))[0].symmetric_difference(land).area < 1e-12
    assert regions([broken]).frame.geometry[0].symmetric_difference(land).area < 1e-12


def test_a_hole_outside_its_shell_becomes_no_land_across_the_antimeridian() -> None:
    shell = [(179, 0), (-179, 0), (-179, 2), (179, 2)]
    land = repaired(np.array([Polygon(shell, [box(5, 5, 6, 6).exterior])]))[0]
    assert land.area == pytest.approx(4) and land.bounds == (179, 0, 181, 2)


def test_text_codes_and_pieces_of_one_region() -> None:
    frame = table([box(0, 0, 1, 1), box(5, 0, 6, 1)])
    frame["ECO_ID"] = ["7", "7"]
    result = prepare_regions(frame, "a table")
    assert list(result.frame["stratum"]) == ["eco-007"]
    assert result.frame.geometry[0].area == pytest.approx(2)


def test_lookup_finds_the_region_or_nothing() -> None:
    result = lookup(regions([box(0, 0, 1, 1), box(1, 0, 2, 1)]), np.array([[0.5, 0.5], [1.5, 0.5], [9, 9], [1.0, 0.5]]))
    assert result.tolist() == [0, 1, -1, 0]


def test_outlines_are_published(tmp_path: Path) -> None:
    write_regions(tmp_path / "regions.parquet", regions([box(0, 0, 9, 9)]))
    outlines = gpd.read_parquet(tmp_path / "regions.parquet")
    assert outlines.crs.to_epsg() == 4326 and outlines["BIOME_NAME"].tolist() == ["biome 1"]
