"""The share of a pixel that a polygon covers: exact, at no request, and only where places are polygons."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import MultiPolygon, Point, Polygon, box

from exporters import catalog
from exporters.modalities.polygon_share import covered_percent
from exporters.pull.export import export
from pipeline.corpus import Corpus
from pipeline.corpus_folder import MANIFEST
from pipeline.errors import Fatal
from pipeline.grid import Grid, to_lonlat, utm_crs
from pipeline.manifest import Manifest
from pipeline.own_columns import OUTLINE
from pipeline.progress import Silent
from tests.exporters.chips import chip
from tests.exporters.tiny_earth import day
from tests.pipeline.own_tables import with_own

PARTS = 40
PLACES = [(8.0, 47.0), (-70.0, -54.9), (179.9999, -17.0), (15.0, 78.0), (0.0, 0.0)]


def grid_at(lonlat: tuple[float, float], size_px: int = 8) -> Grid:
    return Grid.around(lonlat, utm_crs(lonlat), size_px)


def counted_percent(outline: shapely.Geometry, grid: Grid) -> np.ndarray:
    """By how many of 40 x 40 points in each pixel lie in the outline, in degrees."""
    left, bottom, right, top = grid.bounds_xy
    height, width = grid.shape_yx
    x = left + (np.arange(width * PARTS) + 0.5) * grid.resolution_m / PARTS
    y = top - (np.arange(height * PARTS) + 0.5) * grid.resolution_m / PARTS
    lon, lat = to_lonlat(grid.crs).transform(*np.meshgrid(x, y))
    shapely.prepare(outline)
    inside = np.any([shapely.contains_xy(outline, lon + turn, lat) for turn in (-360, 0, 360)], axis=0)
    return 100 * inside.reshape(height, PARTS, width, PARTS).mean(axis=(1, 3))


def star(centre: tuple[float, float], radii_m: list[float]) -> Polygon:
    """A polygon with corners at these distances, in even directions."""
    turns = np.arange(len(radii_m)) * 2 * math.pi / len(radii_m)
    metres = np.array(radii_m)[:, None] * np.column_stack([np.cos(turns), np.sin(turns)])
    return Polygon(np.array(centre) + metres / 111_320 / [math.cos(math.radians(centre[1])), 1])


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(PLACES), st.lists(st.floats(3, 90), min_size=3, max_size=9))
def test_shares_are_those_that_counting_gives(centre: tuple[float, float], radii_m: list[float]) -> None:
    outline, grid = star(centre, radii_m), grid_at(centre)
    error = np.abs(covered_percent(outline, grid) - counted_percent(outline, grid))
    assert error.max() < 4 and error.mean() < 0.2, "counting itself is off by half a percent along an edge"


def test_holes_and_parts_count() -> None:
    centre = PLACES[0]
    ring = star(centre, [60.0] * 8).difference(star(centre, [25.0] * 8))
    parts = MultiPolygon([ring, star(centre, [8.0] * 5)])
    error = np.abs(covered_percent(parts, grid_at(centre)) - counted_percent(parts, grid_at(centre)))
    assert error.max() < 4 and error.mean() < 0.2
    assert covered_percent(parts, grid_at(centre)).sum() == pytest.approx(
        counted_percent(parts, grid_at(centre)).sum(), rel=2e-3
    )


def test_all_and_nothing_are_exact() -> None:
    centre = PLACES[0]
    assert (covered_percent(box(7, 46, 9, 48), grid_at(centre)) == 100).all()
    assert (covered_percent(box(7, 46, 7.9, 48), grid_at(centre)) == 0).all()


def manifest_of_fields(folder: Path) -> Manifest:
    """Three places, of which the last one in the table has no polygon."""
    plain = Manifest.freeze([chip(day(2019, 6, 2), place=place) for place in range(3)], 0)
    places = [each.location.lonlat for each in plain]
    outlines = [shapely.to_wkb(star(place, [40.0] * 12)) for place in places[:2]]
    manifest = with_own(plain, pa.table({"outline": pa.array([*outlines, None], OUTLINE)}))
    manifest.write(folder / MANIFEST)
    return manifest


def test_places_that_are_polygons_get_the_layer_without_a_request(engine, sandbox, tmp_path):
    manifest = manifest_of_fields(tmp_path)
    layers = catalog.of_manifest(manifest, ["polygon_share", "lat"])
    corpus = Corpus.create(tmp_path, layers, 2)
    sandbox.reset_counters()
    export(engine, corpus, layers, tmp_path / "spool", Silent())
    assert not corpus.missing() and sandbox.counters()["total"] == 0
    stored = corpus.read("polygon_share", slice(0, 3))
    reasons = {row: why for entry in corpus.entries("polygon_share") for row, why in entry.missing.items()}
    for row, each in enumerate(manifest):
        if each.own["outline"] is None:
            assert reasons == {row: "the place has no polygon"} and (stored[row] == 255).all()
            continue
        exact = covered_percent(shapely.from_wkb(each.own["outline"]), each.grid)
        assert np.abs(stored[row, 0] - exact).max() <= 0.5 and stored[row].max() == 100 and stored[row].min() == 0
        assert shapely.from_wkb(each.own["outline"]).contains(Point(each.location.lonlat))


def test_the_layer_is_there_where_places_are_polygons_alone(tmp_path):
    fields, plain = manifest_of_fields(tmp_path), Manifest.freeze([chip(day(2019, 6, 2))], 0)
    without = [layer.name for layer in catalog.of_manifest(plain)]
    assert [layer.name for layer in catalog.of_manifest(fields)] == [*without, "polygon_share"]
    assert without == [layer.name for layer in catalog.modalities()]
    with pytest.raises(Fatal, match="'polygon_share' needs the column 'outline', which this manifest lacks"):
        catalog.of_manifest(plain, ["polygon_share"])
