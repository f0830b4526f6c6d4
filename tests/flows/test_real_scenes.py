"""A corpus built from real scenes holds what an independent reading of their GeoTIFFs gives, and it trains."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rioxarray
import tomli_w
import xarray as xr
from affine import Affine
from pyproj import Transformer
from rasterio.enums import Resampling

from pipeline.chip import Chip
from pipeline.corpus import Corpus
from tests.flows.jobs import geocorpus, run_stages, sandbox

INDEX = Path(__file__).resolve().parent.parent / "sandbox" / "scenes.toml"
OFFSETS_M = ((0, 0), (330, -270), (-490, 415))
LAYERS = ("sentinel2", "sentinel2_scl", "sentinel1", "copernicus_dem", "esa_worldcover", "lat", "month")
DEM_FILE = Path(__file__).resolve().parent / "copernicus_dem.py"
SIZE_PX = 64
# TerraMesh's land-cover codes as WorldCover's.
REMAP = {"1": 80, "2": 10, "3": 90, "4": 40, "5": 50, "6": 60, "7": 70, "9": 30}

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("sandbox")]


def scene_index() -> dict[str, Any]:
    return tomllib.loads(INDEX.read_text())


def write_index(folder: Path, scenes: Path) -> Path:
    """The scenes, each with its elevation and land cover in the files' own CRS and grid."""
    time = datetime(2020, 1, 1, tzinfo=UTC)
    static = [
        {"collection": collection, "index": path.stem, "file": f"{kind}/{path.name}", "time": time,
         "bands": {band: 1}, **more}
        for kind, collection, band, more in (
            ("DEM", "COPERNICUS/DEM/GLO30_2024_1", "DEM", {"dtype": "float32"}),
            ("LULC", "ESA/WorldCover/v100", "Map", {"remap": REMAP}),
        )
        for path in sorted((scenes / kind).glob("*.tif"))
    ]  # fmt: skip
    index = folder / "index.toml"
    index.write_text(tomli_w.dumps({"image": [*scene_index()["image"], *static]}))
    return index


def opened(path: Path) -> xr.DataArray:
    """A scene's GeoTIFF (band, y, x) as rioxarray reads it, in float64."""
    array = rioxarray.open_rasterio(path)
    assert isinstance(array, xr.DataArray)
    return array.astype("float64")


def write_points(folder: Path, scenes: Path) -> Path:
    rows = ["lon,lat"]
    for path in sorted((scenes / "S2L1C").glob("*.tif")):
        array = opened(path)
        to_lonlat = Transformer.from_crs(array.rio.crs, 4326, always_xy=True)
        left, bottom, right, top = array.rio.bounds()
        for east_m, north_m in OFFSETS_M:
            lon, lat = to_lonlat.transform((left + right) / 2 + east_m, (bottom + top) / 2 + north_m)
            rows.append(f"{lon:.7f},{lat:.7f}")
    points = folder / "points.csv"
    points.write_text("\n".join(rows) + "\n")
    return points


@pytest.fixture(scope="module")
def corpus(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("real")
    points = write_points(folder, shared_data / "scenes")
    index = write_index(folder, shared_data / "scenes")
    with sandbox("--rasters", str(shared_data / "scenes"), "--index", str(index), "--no-planet") as url:
        run_stages([
            f"corpus.folder={folder / 'c'}", f"source.url={url}", f"sampling.points={points}",
            "sampling.regions=", "sampling.may_overlap=true",
            f"corpus.size_px={SIZE_PX}", f"corpus.modalities={list(LAYERS)}", f"corpus.modality_files=['{DEM_FILE}']",
            "corpus.shard_rows=4", "anchor.years=[2017, 2020, 2023]",
            "split.train=1.0", "split.val=0.0", "split.test=0.0",
        ])  # fmt: skip
    return Corpus.open(folder / "c")


def on_grid(array: xr.DataArray, chip: Chip, resampling: Resampling) -> np.ndarray:
    """The scene as rioxarray (GDAL) warps it to the chip's grid, (band, y, x)."""
    grid = chip.grid
    warped = array.rio.reproject(
        grid.crs, shape=grid.shape_yx, transform=Affine(*grid.transform), resampling=resampling, nodata=np.nan
    )
    return np.asarray(warped)


def linear(array: xr.DataArray, chip: Chip) -> np.ndarray:
    return on_grid(array, chip, Resampling.bilinear)


def nearest(array: xr.DataArray, chip: Chip) -> np.ndarray:
    return on_grid(array, chip, Resampling.nearest)


def source(folder: Path, asset: str) -> tuple[Path, dict[str, Any]]:
    """File and index entry of an image asset id."""
    for entry in scene_index()["image"]:
        if f"{entry['collection']}/{entry['index']}" == asset:
            return folder / entry["file"], entry
    raise AssertionError(f"{asset} is no real scene")


def test_every_location_found_its_real_scene(corpus: Corpus, shared_data: Path) -> None:
    assert len(corpus.manifest) == 9
    for chip in corpus.manifest:
        assert source(shared_data / "scenes", chip.acquisition.anchor.asset_id)[0].exists()
    years = {chip.acquisition.date.year for chip in corpus.manifest}
    assert years == {2017, 2020, 2023}


def test_optical_bands_equal_an_independent_reading(corpus: Corpus, shared_data: Path) -> None:
    stored = corpus.read("sentinel2", slice(0, 9))
    names = corpus.modality("sentinel2").band_names
    for chip in corpus.manifest:
        path, entry = source(shared_data / "scenes", chip.acquisition.anchor.asset_id)
        expected = linear(opened(path), chip) + entry.get("offset", 0)
        for band, name in enumerate(names):
            if name in entry["bands"]:
                wanted = np.clip(expected[entry["bands"][name] - 1], 0, None)
                assert np.abs(stored[chip.row, band] - wanted).max() <= 1.0, (chip.row, name)
                assert stored[chip.row, band].any()
            else:
                assert (stored[chip.row, band] == 0).all(), (chip.row, name)


def test_radar_equals_an_independent_reading(corpus: Corpus, shared_data: Path) -> None:
    modality = corpus.modality("sentinel1")
    stored = corpus.read("sentinel1", slice(0, 9))
    checked = 0
    for chip in corpus.manifest:
        for orbit_pass in ("ascending", "descending"):
            scene = getattr(chip.acquisition, orbit_pass)
            for polarisation in ("VV", "VH", "HH", "HV"):
                values = stored[chip.row, modality.band_names.index(f"{polarisation}_{orbit_pass}")]
                path, entry = source(shared_data / "scenes", scene.asset_id) if scene else (None, {"bands": {}})
                if path is None or polarisation not in entry["bands"]:
                    assert not modality.valid(values).any()
                    continue
                expected = linear(opened(path), chip)[entry["bands"][polarisation] - 1] / modality.scale
                assert np.abs(values - expected).max() <= 1.0
                checked += 1
    assert checked >= 18


def test_land_cover_is_exact(corpus: Corpus, shared_data: Path) -> None:
    table = {int(old): new for old, new in REMAP.items()}
    stored = corpus.read("esa_worldcover", slice(0, 9))
    modality = corpus.modality("esa_worldcover")
    for chip in corpus.manifest:
        path = shared_data / "scenes" / "LULC" / f"{scene_of(chip, shared_data)}.tif"
        codes = nearest(opened(path), chip)[0].astype(int)
        expected = np.vectorize(lambda code: table.get(code, modality.nodata))(codes)
        np.testing.assert_array_equal(stored[chip.row, 0], expected)


def test_elevation_equals_an_independent_reading(corpus: Corpus, shared_data: Path) -> None:
    stored = corpus.read("copernicus_dem", slice(0, 9))
    for chip in corpus.manifest:
        path = shared_data / "scenes" / "DEM" / f"{scene_of(chip, shared_data)}.tif"
        expected = linear(opened(path), chip)[0].astype(np.float32)
        assert (np.abs(stored[chip.row, 0] - expected) <= np.spacing(np.abs(expected))).all(), chip.row


def scene_of(chip: Chip, shared_data: Path) -> str:
    path, _ = source(shared_data / "scenes", chip.acquisition.anchor.asset_id)
    return path.stem


def test_xarray_sees_units_classes_and_every_nodata_pixel(corpus: Corpus) -> None:
    data = xr.open_zarr(corpus.folder / "corpus.zarr")
    assert set(LAYERS) <= set(data.data_vars)
    assert data["band_sentinel1"].values.tolist()[:2] == ["VV_ascending", "VH_ascending"]
    assert data["sentinel1"].attrs["units"] == "dB"
    assert "tree_cover" in data["esa_worldcover"].attrs["flag_meanings"]
    for name in LAYERS:
        modality = corpus.modality(name)
        stored = corpus.read(name, slice(0, 9))
        nodata = np.isnan(stored) if np.isnan(modality.nodata) else stored == modality.nodata
        np.testing.assert_array_equal(np.isnan(data[name].values), nodata)


def test_statistics_equal_one_pass_over_what_xarray_reads(corpus: Corpus) -> None:
    data = xr.open_zarr(corpus.folder / "corpus.zarr", mask_and_scale=False)
    published = json.loads((corpus.folder / "statistics.json").read_text())
    assert set(published) == set(LAYERS)
    for name in LAYERS:
        modality = corpus.modality(name)
        column = modality.statistics_by
        groups = data[column].values if column else np.full(9, "all")
        for group, bands in published[name].items():
            for band, result in enumerate(bands):
                values = data[name].values[groups == group, band].astype(np.float64)
                values = values[modality.valid(values.astype(modality.dtype))]
                assert result["count"] == values.size
                if values.size:
                    expected = [values.mean(), values.std(), values.min(), values.max()]
                    ours = [result["mean"], result["std"], result["minimum"], result["maximum"]]
                    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-9)


def test_it_trains(corpus: Corpus) -> None:
    outcome = geocorpus(
        "pretrain", str(corpus.folder), "pretrain.preset=demo", "pretrain.inputs=['sentinel2']", "pretrain.steps=6",
        "pretrain.batch_size=4", "pretrain.checkpoint_every=6",
    )  # fmt: skip
    assert outcome.returncode == 0, outcome.stderr
    assert "6 steps" in outcome.stdout
