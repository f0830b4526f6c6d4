"""A layer gives the same pixels from Earth Engine and from files: the sandbox serves the rasters that the files are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from affine import Affine

from exporters import catalog
from exporters.earth_engine.client import Connection, EarthEngine, connect
from exporters.files.static_layer import NO_FILE, with_files
from exporters.pull.pull import Puller
from pipeline.chip import Acquisition, Chip, Scene
from pipeline.grid import Grid, utm_crs
from pipeline.location import Location
from pipeline.modality import Modality
from sandbox.catalogues.folder import RasterFolder
from sandbox.service.quotas import OFF
from sandbox.service.server import Sandbox
from tests.exporters.files.rasters import write

DEM_FILE = Path(__file__).resolve().parents[2] / "flows" / "copernicus_dem.py"
DEM_TILE = "Copernicus_DSM_COG_10_N00_00_E006_00_DEM.tif"
PLACES = ((6.61, 0.23), (6.6, 0.1702), (6.5, 0.31))  # of São Tomé, and one of its coast
STEP_DEG = 1 / 12_000


def chip_at(lonlat: tuple[float, float], row: int = 0) -> Chip:
    location = Location(str(row), *lonlat, "", 0, "", 0, "", "")
    scene = Scene("none", datetime(2020, 6, 1, tzinfo=UTC))
    return Chip(location, Grid.around(lonlat, utm_crs(lonlat), 64), Acquisition(scene, "l2a"), row=row)


def class_tiles(folder: Path, codes: tuple[int, ...]) -> list[str]:
    """Two neighbours with random classes of 10 m pixels, whose border is under the second place."""
    classes = np.random.default_rng(3).choice(codes, (1, 2000, 2600)).astype("uint8")
    west, south_of = 6.49, 0.17
    top = south_of + 1990 * STEP_DEG
    north, south = classes[:, :1990], classes[:, 1990:]
    for name, part, upper in (("north", north, top), ("south", south, south_of)):
        write(folder / f"{name}.tif", part, Affine(STEP_DEG, 0, west, 0, -STEP_DEG, upper), "EPSG:4326",
              compress="deflate", tiled=True)  # fmt: skip
    return ["north.tif", "south.tif"]


def layer(name: str, *files: Path) -> Modality:
    return catalog.modalities([name], files)[0]


@pytest.fixture(scope="module")
def folder(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real elevation of São Tomé and made classes, with the sandbox's index of them."""
    folder = tmp_path_factory.mktemp("layers")
    (folder / DEM_TILE).symlink_to(shared_data / "global" / DEM_TILE)
    tiles = class_tiles(folder, layer("esa_worldcover").codes)
    images = [
        {"collection": "ESA/WorldCover/v100", "index": name, "file": name, "bands": {"Map": 1}} for name in tiles
    ] + [{"collection": "COPERNICUS/DEM/GLO30_2024_1", "index": "one", "file": DEM_TILE, "bands": {"DEM": 1}}]
    (folder / "index.toml").write_text(tomli_w.dumps({"image": images}))
    return folder


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[EarthEngine]:
    with Sandbox(RasterFolder(folder, folder / "index.toml"), quotas=OFF) as sandbox:
        yield connect(Connection("demo", url=sandbox.url))


def test_classes_are_identical(engine: EarthEngine, folder: Path, tmp_path: Path) -> None:
    remote = layer("esa_worldcover")
    local = with_files([remote], {remote.name: f"files:{folder}/*th.tif"}, tmp_path)[0]
    for row, lonlat in enumerate(PLACES):
        chip = chip_at(lonlat, row)
        expected = Puller(engine).pixels(chip, [remote]).values[remote.name]
        got = Puller(engine).local(chip, [local]).values[local.name]
        np.testing.assert_array_equal(got, expected)
        assert len(np.unique(got)) > 5


def test_elevation_is_the_same_to_a_millimetre(engine: EarthEngine, folder: Path, tmp_path: Path) -> None:
    spread_m = []
    remote = layer("copernicus_dem", DEM_FILE)
    local = with_files([remote], {remote.name: f"files:{folder}/Copernicus*.tif"}, tmp_path)[0]
    for row, lonlat in enumerate(PLACES):
        chip = chip_at(lonlat, row)
        expected = Puller(engine).pixels(chip, [remote]).values[remote.name]
        got = Puller(engine).local(chip, [local]).values[local.name]
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-3)
        spread_m.append(got[0].std())
    assert min(spread_m[:2]) > 1, "the first two places are hills"


def test_a_chip_without_a_file_has_the_reason(engine: EarthEngine, folder: Path, tmp_path: Path) -> None:
    local = with_files([layer("esa_worldcover")], {"esa_worldcover": f"files:{folder}/north.tif"}, tmp_path)
    assert Puller(engine).local(chip_at((30.0, 50.0)), local).missing == {"esa_worldcover": NO_FILE}
