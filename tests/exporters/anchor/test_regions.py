"""The region table: how it is asked for, and how far its outlines may be off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import ee
import numpy as np
import pytest
import shapely
from shapely import Polygon

from exporters.anchor.regions import COLUMNS, RESOLVE, read_regions
from exporters.earth_engine.batch_size import OneTooLarge
from exporters.earth_engine.client import Connection, EarthEngine, connect
from pipeline.errors import Fatal, TooLarge
from sandbox.limits import KIND
from sandbox.raster.stored import StoredFeature
from sandbox.service.faults import Fault
from sandbox.service.server import Sandbox
from tests.exporters import tiny_earth
from tests.exporters.conftest import IMPATIENT

METRES_PER_DEGREE = 111_195.0


def region(number: int, outline: Polygon | None = None) -> StoredFeature:
    names = {"ECO_NAME": f"Region {number}", "BIOME_NUM": 4, "BIOME_NAME": "Forest", "REALM": "P", "ECO_ID": number}
    shape = outline or tiny_earth.outline(tiny_earth.LEFT + 10 * number, 1000.0)
    return StoredFeature(f"{number:04d}", shape, {**names, "LONG": "x" * 99})


def fjords(radius_deg: float, ripple_deg: float) -> Polygon:
    """A disc whose outline, of 2,000 points, goes to and fro by the ripple."""
    angle = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    radius = radius_deg + ripple_deg * (np.arange(2000) % 2)
    return Polygon(np.column_stack([9 + radius * np.cos(angle), radius * np.sin(angle)]))


@contextmanager
def earth_with(*regions: StoredFeature) -> Iterator[tuple[Sandbox, EarthEngine]]:
    with Sandbox(catalog=tiny_earth.TinyEarth([], {RESOLVE: list(regions)})) as server:
        engine = connect(Connection("demo-project", url=server.url, patience=IMPATIENT))
        server.reset_counters()
        yield server, engine


def test_regions_are_read_page_by_page_and_once(tmp_path: Path):
    with earth_with(*(region(number) for number in range(60))) as (server, engine):
        frame = read_regions(engine, RESOLVE, tmp_path / "cache.parquet")
        assert server.counters()["requests"] == {"table:computeFeatures": 3}
        assert len(frame) == 60 and frame.crs.to_epsg() == 4326
        assert sorted(frame["ECO_ID"]) == list(range(60))
        assert list(frame.columns) == [*COLUMNS, "geometry"]
        again = read_regions(engine, RESOLVE, tmp_path / "cache.parquet")
        assert server.counters()["total"] == 3
        assert np.array_equal(again["ECO_ID"], frame["ECO_ID"])


@pytest.mark.parametrize(("radius_deg", "most_off_m"), [(1.0, 100.0), (0.005, 20.0)])
def test_outlines_are_simplified_no_further_than_is_promised(tmp_path: Path, radius_deg: float, most_off_m: float):
    """By 100 m, and of a small area by a hundredth of its side: sqrt(pi) times its radius.

    Where a ring closes, the sandbox's simplification (GEOS) is off by up to half as much again.
    """
    off_deg = most_off_m / METRES_PER_DEGREE
    outline = fjords(radius_deg, off_deg / 4)
    with earth_with(region(1, outline)) as (server, engine):
        (simplified,) = read_regions(engine, RESOLVE, tmp_path / "cache.parquet").geometry
        sent = server.counters()["bytes_out"]
    assert shapely.hausdorff_distance(simplified.exterior, outline.exterior) <= 1.5 * off_deg
    assert shapely.get_num_coordinates(simplified) < 300, "of 2,000"
    assert sent < 15_000


def test_a_page_that_is_too_large_is_halved_until_it_passes(tmp_path: Path):
    with earth_with(*(region(number) for number in range(60))) as (server, engine):
        server.faults(Fault("memory", "table:computeFeatures", next=2))
        frame = read_regions(engine, RESOLVE, tmp_path / "cache.parquet")
        assert server.counters()["requests"] == {"table:computeFeatures": 2 + 10}
    assert sorted(frame["ECO_ID"]) == list(range(60))


def test_one_outline_that_is_too_large_alone_stops(tmp_path: Path):
    with earth_with(region(1), region(2)) as (server, engine):
        server.faults(Fault("memory", "table:computeFeatures", rate=1))
        with pytest.raises(OneTooLarge, match="one feature is too much"):
            read_regions(engine, RESOLVE, tmp_path / "cache.parquet")


def test_a_region_table_without_the_columns_is_refused(tmp_path: Path):
    feature = StoredFeature("0", tiny_earth.outline(), {"NAME": "x"})
    with earth_with(feature) as (_, engine), pytest.raises(Fatal, match="RESOLVE.*ECO_NAME"):
        read_regions(engine, RESOLVE, tmp_path / "cache.parquet")
    assert not (tmp_path / "cache.parquet").exists()


def test_answers_over_the_limit_of_a_result_are_divided(tmp_path: Path):
    catalog = tiny_earth.TinyEarth([], {RESOLVE: [region(number) for number in range(60)]})
    with Sandbox(catalog=catalog, limits=replace(KIND, result_bytes=3000)) as server:
        engine = connect(Connection("demo-project", url=server.url, patience=IMPATIENT))
        frame = read_regions(engine, RESOLVE, tmp_path / "cache.parquet")
        assert server.counters()["statuses_by_endpoint"]["table:computeFeatures"].keys() == {"200", "400"}
        with pytest.raises(TooLarge, match="Response size exceeds limit"):
            engine.value(ee.List.repeat("long", 1000))
    assert sorted(frame["ECO_ID"]) == list(range(60))
