"""Descriptions and programs of docs/files.md, run: on real tiles and scenes, and on small files of others' layout."""

from __future__ import annotations

import re
import shutil
from io import BytesIO
from pathlib import Path
from typing import Any

import h5netcdf
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
import rasterio.warp
import xarray as xr
from scipy.ndimage import map_coordinates
from zarr.storage import ZipStore

from exporters import catalog
from exporters.files import static_layer
from flows.settings import load
from pipeline.corpus import Corpus
from pipeline.grid import Grid
from tests.exporters.files.test_same_pixels import chip_at
from tests.flows.file_corpora import as_read, build, raster

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "files.md").read_text()
PYTHON, TOML = (re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL) for kind in ("python", "toml"))
WRITE, SSL4EO, TERRAMESH, MAJOR_TOM, GUNW = PYTHON
GUNW_FILES, GUNW_SETTINGS = TOML[-2:]
SIZE_PX = 16
RANDOM = np.random.default_rng(3)


def described(text: str, *overrides: str) -> Corpus:
    """The corpus of a description in the working folder."""
    Path("description.toml").write_text(text)
    return build(load("description.toml", ["corpus.folder=corpus", "split.buffer_m=0", *overrides]))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_tiles_in_folders(here, shared_data):
    for name in ("Forest", "River"):
        (here / "ms").mkdir(exist_ok=True)
        (here / "ms" / name).symlink_to(shared_data / "eurosat" / "ms" / name)
    corpus = described(TOML[0])
    assert len(corpus.manifest) == 20 and set(corpus.modalities) == {"sentinel2_l1c", "land_use"}


def test_layers_of_one_place(here, shared_data):
    (here / "scenes").symlink_to(shared_data / "scenes")
    corpus = described(TOML[1], "corpus.size_px=224")
    assert len(corpus.manifest) == 3 and len(corpus.modalities) == 4
    assert not any(entry.missing for entry in corpus.entries("land_cover"))


def middles(number: int) -> dict[str, Any]:
    x = 500_005.0 + number * 2000 + 10 * np.arange(SIZE_PX)
    return {"x": x, "y": 5_000_000.0 - 10 * np.arange(SIZE_PX)}


def store(path: Path, data: xr.Dataset) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data.to_zarr("unzipped.zarr", zarr_format=2, mode="w")
    shutil.make_archive(str(path.with_suffix("")), "zip", "unzipped.zarr")


def ssl4eo_file(names: list[str], dtype: str) -> xr.Dataset:
    places, seasons = 2, 2
    values = RANDOM.integers(-30, 4000, (places, seasons, len(names), SIZE_PX, SIZE_PX)).astype(dtype)
    times = np.array("2020-01-05", "M8[ns]") + np.arange(seasons) * np.timedelta64(90, "D")
    ids = [[f"{place:07d}_{season}" for season in range(seasons)] for place in range(places)]
    return xr.Dataset(
        {
            "bands": (("sample", "time", "band", "y", "x"), values),
            "crs": ("sample", np.array([32631] * places)),
            "sample_id": (("sample", "time"), np.array(ids)),
            "time_": (("sample", "time"), np.stack([times] * places)),
            "x_": (("sample", "x"), np.stack([middles(place)["x"] for place in range(places)])),
            "y_": (("sample", "y"), np.stack([middles(place)["y"] for place in range(places)])),
        },
        {"band": names},
    )


def test_ssl4eo_s12(here):
    files = {"S2L2A": ssl4eo_file(["B02", "B03"], "int16"), "S1GRD": ssl4eo_file(["vv", "vh"], "float16")}
    for layer, data in files.items():
        store(here / "SSL4EO-S12-v1.1" / "val" / layer / "ssl4eos12_val_seasonal_data_000001.zarr.zip", data)
    exec(WRITE + SSL4EO, {})  # noqa: S102
    corpus = described(TOML[2], f"corpus.size_px={SIZE_PX}")
    assert len(corpus.manifest) == 4 and set(corpus.manifest.column("split")) == {"val"}
    layers = {"S2L2A": "s2_l2a", "S1GRD": "s1_grd"}
    for chip in corpus.manifest:
        place, season = (int(part) for part in chip.location.id.split("_"))
        for folder, layer in layers.items():
            values = files[folder].bands.values[place, season]
            stored = corpus.read(layer, slice(chip.row, chip.row + 1))[0]
            np.testing.assert_array_equal(stored, values.astype(stored.dtype))
        assert chip.acquisition.date.month == int(files["S2L2A"].time_.dt.month[place, season])
        assert chip.grid.origin_xy == (500_000.0 + place * 2000, 5_000_005.0)


def test_terramesh(here):
    shapes = {"S2L2A": (["B02", "B03"], "int16"), "DEM": (None, "int16")}
    for layer, (names, dtype) in shapes.items():
        for number in range(2):
            size = (1, *([len(names)] if names else []), SIZE_PX, SIZE_PX)
            dims = ("time", *(["band"] if names else []), "y", "x")
            data = xr.Dataset(
                {"bands": (dims, RANDOM.integers(0, 4000, size).astype(dtype)), "crs": ((), 32631)},
                {"time": [np.datetime64("2021-03-04", "ns")], **middles(number)} | ({"band": names} if names else {}),
            )
            store(here / "TerraMesh" / "train" / layer / f"majortom_00{number}.zarr.zip", data)
    exec(WRITE + "from pathlib import Path\n" + TERRAMESH, {})  # noqa: S102
    layers = '[layers.s2_l2a]\nfiles = "{split}/S2L2A/{place}.tif"\n[layers.dem]\nfiles = "{split}/DEM/{place}.tif"\n'
    corpus = described(
        f'[source]\nkind = "files"\n[files]\nfolder = "terramesh"\n{layers}', f"corpus.size_px={SIZE_PX}"
    )
    assert len(corpus.manifest) == 2 and corpus.modality("s2_l2a").band_names == ("B02", "B03")
    assert {str(chip.acquisition.date.date()) for chip in corpus.manifest} == {"2021-03-04"}
    with xr.open_zarr(ZipStore(here / "TerraMesh" / "train" / "DEM" / "majortom_001.zarr.zip", mode="r")) as dem:
        (row,) = [chip.row for chip in corpus.manifest if chip.location.id == "majortom_001"]
        np.testing.assert_array_equal(corpus.read("dem", slice(row, row + 1))[0], dem.bands.values)


def test_major_tom(here):
    row: dict[str, Any] = {
        "product_id": "S2A_MSIL2A",
        "grid_cell": "451U_946L",
        "product_datetime": "2021-07-08 10:11:12",
    }
    row |= {"cloud_mask": None, "thumbnail": None}
    for band in ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12"):
        fine = band in ("B02", "B03", "B04", "B08")
        side, count = (10.0, 32) if fine else (20.0, 16)
        path = raster(here / "one.tif", RANDOM.integers(0, 9000, (1, count, count)).astype("uint16"), side=(side, side))
        row[band] = path.read_bytes()
    (here / "Core-S2L2A").mkdir()
    pq.write_table(pa.Table.from_pylist([row]), here / "Core-S2L2A" / "part_00001.parquet")
    exec(WRITE + "from pathlib import Path\n" + MAJOR_TOM, {})  # noqa: S102
    corpus = described(TOML[3], f"corpus.size_px={SIZE_PX}")
    assert len(corpus.manifest) == 4 and corpus.modality("s2_20m").band_names[3] == "B8A"
    for chip in corpus.manifest:
        first = chip.own["file_s2_10m"].split(" | ")[3]
        raw = as_read(here / "majortom" / first, chip.grid.origin_xy, SIZE_PX)
        np.testing.assert_array_equal(corpus.read("s2_10m", slice(chip.row, chip.row + 1))[0, 3:], raw)
        with rasterio.open(BytesIO(row["B08"])) as file:
            assert (file.read() == rasterio.open(here / "majortom" / first).read()).all()


def gunw_frame(path: Path, west: float, north: float, coherence: np.ndarray) -> None:
    """A file of the layout of ARIA's S1-GUNW: grids of 3 arc seconds in groups, and 0 for no data."""
    path.parent.mkdir(exist_ok=True)
    height, width = coherence.shape
    with h5netcdf.File(path, "w") as file:
        grids = file.create_group("science/grids/data")
        grids.dimensions = {"latitude": height, "longitude": width}
        lat, lon = north - (np.arange(height) + 0.5) / 1200, west + (np.arange(width) + 0.5) / 1200
        for name, values, units in (("latitude", lat, "degrees_north"), ("longitude", lon, "degrees_east")):
            grids.create_variable(name, (name,), float, data=values).attrs.update(standard_name=name, units=units)
        wkt = rasterio.CRS.from_epsg(4326).to_wkt()
        grids.create_variable("crs", (), "i4", data=0).attrs.update(crs_wkt=wkt, spatial_ref=wkt)
        for name in ("amplitude", "coherence", "unwrappedPhase"):
            values = coherence.astype("f4") * (1 if name == "coherence" else 7)
            made = grids.create_variable(name, ("latitude", "longitude"), "f4", data=values, fillvalue=np.float32(0))
            made.attrs.update(grid_mapping="crs")


def chip_middles(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """x and y of the middles of the pixels, row by row."""
    left, _, _, top = grid.bounds_xy
    steps = (np.arange(grid.shape_yx[0]) + 0.5) * grid.resolution_m
    x, y = np.meshgrid(left + steps, top - steps)
    return x.ravel(), y.ravel()


def test_interferograms_of_gunw(here):
    coherence = RANDOM.uniform(0.1, 0.9, (120, 120)).round(2)
    coherence[:, :20] = 0
    one = here / "gunw" / "S1-GUNW-{}-R-087-tops-{}_20200112-152045-46000N_45900N-PP-2b4e-v2_0_4.nc"
    gunw_frame(Path(str(one).format("A", "20200124")), 10.0, 46.0, coherence)
    gunw_frame(Path(str(one).format("D", "20200130")), 12.0, 46.0, coherence)  # elsewhere
    gunw_frame(Path(str(one).format("A", "20210130")), 10.0, 46.0, 1 - coherence)  # another year
    Path("gunw_coherence.py").write_text(GUNW)
    Path("gunw.toml").write_text(GUNW_FILES)
    Path("settings.toml").write_text(GUNW_SETTINGS)
    settings = load("settings.toml")
    (layer,) = catalog.modalities(["gunw_coherence"], settings.corpus.modality_files)
    (bound,) = static_layer.with_files([layer], settings.source.layers, here)
    chip = chip_at((10.05, 45.95))
    static_layer.settle([bound], [], here)
    listed = pq.read_table(here / "sources" / "gunw_coherence.parquet")
    assert len(listed) == 2 and all(size > 0 for size in listed.column("bytes").to_pylist())
    assert bound.source.absent(chip) is None and layer.source.absent(chip)
    ascending, descending = bound.source.values(chip)
    lon, lat = rasterio.warp.transform(chip.grid.crs, "EPSG:4326", *chip_middles(chip.grid))
    pixels = [(46.0 - np.array(lat)) * 1200 - 0.5, (np.array(lon) - 10.0) * 1200 - 0.5]
    expected = map_coordinates(coherence, pixels, order=1).reshape(ascending.shape)
    assert np.allclose(ascending, expected, atol=1e-6) and np.isnan(descending).all()
    west = bound.source.values(chip_at((10.0167, 45.95)))[0]
    assert np.isnan(west[:, 0]).all() and np.nanmin(west) > 0.09
