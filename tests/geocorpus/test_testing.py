"""The pytest plugin for other projects: its fixture, its options, and the example of the documentation."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import ee
import numpy as np
import pytest
import rasterio
import shapely

from geocorpus.testing import local_earth_engine
from sandbox.raster.stored import Query
from tests.sandbox.planets import shared_planet

ROOT = Path(__file__).resolve().parent.parent.parent
PLACE = (20.0, 30.0)
S2 = "COPERNICUS/S2_SR_HARMONIZED"


def scenes() -> ee.ImageCollection:
    return ee.ImageCollection(S2).filterBounds(ee.Geometry.Point(PLACE)).filterDate("2020-06-01", "2020-07-01")


def indices() -> list[str]:
    return list(scenes().aggregate_array("system:index").getInfo())


def test_the_client_speaks_to_it(earth_engine):
    expected = [image.asset_id for image in shared_planet().images(S2, query())]
    assert expected and [f"{S2}/{index}" for index in indices()] == expected
    assert earth_engine.counters()["requests"]["value:compute"] == 1


def query():
    return Query(shapely.Point(PLACE), 1590969600000, 1593561600000)


@pytest.mark.earth_engine(seed=1)
def test_another_seed_is_another_planet(earth_engine):
    other = indices()
    earth_engine.stop()
    with pytest.raises(Exception, match=r"(?i)connect|refused|remote"):
        indices()
    with local_earth_engine(seed=0):
        assert indices() != other


@pytest.mark.earth_engine(faults=["value:compute/memory=1"])
def test_faults_strike(earth_engine):
    with pytest.raises(ee.EEException, match="User memory limit exceeded"):
        indices()


@pytest.mark.parametrize("kind", [True, False])
def test_kindness_is_quotas_and_limits(kind):
    """The service refuses more than 1024 bands."""
    grid = {"dimensions": {"width": 1, "height": 1}, "crsCode": "EPSG:4326"}
    with local_earth_engine(kind=kind):
        many = ee.Image.constant([0] * 1025).toByte()
        request = {"expression": many, "fileFormat": "NPY", "grid": grid}
        if kind:
            assert ee.data.computePixels(request)
        else:
            with pytest.raises(ee.EEException, match="Number of bands"):
                ee.data.computePixels(request)


def test_rasters_of_a_folder_are_assets(tmp_path):
    transform = rasterio.Affine(10, 0, 500000, 0, -10, 5100000)
    profile = {"driver": "GTiff", "width": 8, "height": 8, "count": 1, "dtype": "uint8", "crs": "EPSG:32632"}
    with rasterio.open(tmp_path / "field.tif", "w", transform=transform, **profile) as target:
        target.write(np.full((1, 8, 8), 7, np.uint8))
    index = '[[image]]\nfile = "field.tif"\nasset = "users/me/field"\nbands = { crop = 1 }\n'
    (tmp_path / "index.toml").write_text(index)
    with local_earth_engine(rasters=tmp_path):
        array = ee.data.computePixels({"expression": ee.Image("users/me/field"), "fileFormat": "NUMPY_NDARRAY"})
    assert (array["crop"] == 7).all()


def test_afterwards_the_client_is_not_initialised():
    with local_earth_engine() as sandbox:
        assert sandbox.url.startswith("http://127.0.0.1:")
    assert not ee.data.is_initialized()


def test_an_unknown_fault_names_the_known_ones():
    with pytest.raises(ValueError, match="use one of"):
        with local_earth_engine(faults=["nonsense"]):
            pass


@pytest.mark.slow
def test_the_example_of_the_documentation_passes(tmp_path):
    page = (ROOT / "docs" / "sandbox.md").read_text()
    block = re.search(r"^```python\n(import ee\nimport pytest\n.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["geocorpus.testing"]\n')
    (tmp_path / "test_example.py").write_text(block[1])
    outcome = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--strict-markers", "test_example.py"],
        cwd=tmp_path, text=True, capture_output=True, timeout=120,
    )  # fmt: skip
    assert "2 passed" in outcome.stdout, outcome.stdout + outcome.stderr
