"""The unsharded store as rasterio's GDAL, GDAL's command line, rioxarray and zarr-python read it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401 (makes .rio)
import xarray
import zarr

from exporters.formats.chip_facts import chip_facts
from exporters.formats.choice import Choice
from exporters.formats.convert import write_out
from exporters.formats.format import format_of
from exporters.formats.selection import Selection
from exporters.formats.unsharded.georeference import convention_attributes
from pipeline.chip import Chip
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.grid import Grid
from pipeline.modality import Band, Modality
from pipeline.progress import Silent
from tests.pipeline.chips import CLIMATE, COVER, MODALITIES, OPTICAL
from tests.pipeline.damage import finished_corpus

NO_GDAL = "GDAL's command line (Debian: gdal-bin) is not installed"
DTYPES = (*(f"{sign}int{bits}" for sign in ("u", "") for bits in (8, 16, 32, 64)), "float16", "float32", "float64")
OF_PIXELS = [modality for modality in MODALITIES if modality.extent == "pixel"]


def convert(selection: Selection, target: Path, **options: str) -> Path:
    write_out(format_of("zarr", options), selection, target, options, False, Silent())
    return target


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return finished_corpus(tmp_path_factory.mktemp("zarr") / "corpus", chips=6, shard_rows=4)


@pytest.fixture(scope="module")
def by_chip(corpus: Corpus) -> Path:
    return convert(Choice(rows="1,3:5").of(corpus), corpus.folder.parent / "by-chip.zarr")


def of_gdal(store: Path, layer: str, chip: Chip) -> str:
    return f'ZARR:"{store}":/0000/{chip.location.id}/{layer}'


@pytest.mark.parametrize("modality", OF_PIXELS, ids=lambda modality: modality.name)
def test_gdal_knows_values_place_and_meaning(corpus, by_chip, modality):
    for row in (1, 3, 4):
        chip, stored = corpus.manifest[row], corpus.read(modality.name, slice(row, row + 1))[0]
        with rasterio.open(of_gdal(by_chip, modality.name, chip)) as file:
            assert np.array_equal(file.read(), stored)
            assert file.dtypes == (modality.dtype,) * len(modality.bands) and file.nodata == modality.nodata
            assert file.crs.to_string() == chip.grid.crs and np.isclose(file.bounds, chip.grid.bounds_xy).all()
            assert (file.scales[0], file.offsets[0]) == (modality.scale, modality.offset)
            numbers = range(1, len(modality.bands) + 1)
            assert [file.tags(number)[f"DIM_{modality.band_axis}_VALUE"] for number in numbers] == [
                *modality.band_names
            ]
            assert [file.tags().get(f"class_{category.code}") for category in modality.categories] == [
                category.name for category in modality.categories
            ]


@pytest.mark.skipif(not shutil.which("gdalinfo"), reason=NO_GDAL)
def test_gdal_on_the_command_line_makes_a_geotiff_of_a_band(corpus, by_chip, tmp_path):
    chip = corpus.manifest[3]
    name = of_gdal(by_chip, OPTICAL.name, chip)
    about = subprocess.run(["gdalinfo", "-json", name], capture_output=True, text=True)
    # Before 3.8 GDAL took a band at a time.
    band = name if about.returncode == 0 and len(json.loads(about.stdout)["bands"]) == 3 else f"{name}:1"
    which = ["-b", "2"] if band == name else []
    subprocess.run(["gdal_translate", "-q", *which, band, str(tmp_path / "green.tif")], check=True)
    with rasterio.open(tmp_path / "green.tif") as file:
        assert np.array_equal(file.read(1), corpus.read(OPTICAL.name, slice(3, 4))[0, 1])
        assert file.crs.to_string() == chip.grid.crs and np.isclose(file.bounds, chip.grid.bounds_xy).all()
        assert (file.nodata, file.scales) == (0, (1e-4,))


def test_rioxarray_knows_the_place_of_each_layer(corpus, by_chip):
    chip = corpus.manifest[4]
    group = by_chip / "0000" / chip.location.id
    with xarray.open_zarr(group, consolidated=True) as data:
        for modality in OF_PIXELS:
            layer = data[modality.name]
            assert (
                layer.rio.crs.to_string() == chip.grid.crs and np.isclose(layer.rio.bounds(), chip.grid.bounds_xy).all()
            )
            physical = modality.physical(corpus.read(modality.name, slice(4, 5))[0])
            np.testing.assert_allclose(layer.values, physical, rtol=1e-6)
            assert layer[modality.band_axis].values.tolist() == list(modality.band_names)
        np.testing.assert_array_equal(data[CLIMATE.name], corpus.read(CLIMATE.name, slice(4, 5))[0])
        assert data.attrs["id"] == chip.location.id and data.attrs["anchor_id"] == chip.acquisition.anchor.asset_id
        assert data[COVER.name].attrs["flag_values"] == [10, 20, 80]


def test_zarr_python_sees_the_conventions_under_both_names(corpus, by_chip):
    chip = corpus.manifest[1]
    group = zarr.open_consolidated(by_chip / "0000" / chip.location.id, mode="r")
    for attributes in (dict(group.attrs), dict(group[OPTICAL.name].attrs), dict(group[COVER.name].attrs)):
        named = {item["name"]: item["uuid"] for item in attributes["zarr_conventions"]}
        assert named["proj"] == named["proj:"] != named["spatial"] == named["spatial:"]
        assert attributes["proj:code"] == chip.grid.crs and attributes["spatial:shape"] == [16, 16]
        assert rasterio.Affine(*attributes["spatial:transform"]) == rasterio.Affine(*chip.grid.transform)
        assert attributes["spatial:bbox"] == list(chip.grid.bounds_xy)
    assert "proj:code" not in group[CLIMATE.name].attrs  # it has no pixels
    assert chip_facts(chip).items() <= dict(group.attrs).items()


def test_a_crs_without_a_code_is_written_out():
    plain = "+proj=laea +lat_0=10 +lon_0=20 +datum=WGS84"
    attributes = convention_attributes(Grid(plain, (0.0, 0.0)))
    assert "proj:code" not in attributes and rasterio.CRS.from_wkt(
        attributes["proj:wkt2"]
    ) == rasterio.CRS.from_user_input(plain)


def test_by_layer_is_the_corpus_along_its_chips(corpus, tmp_path):
    rows = [0, 2, 3, 5]
    out = convert(Choice(rows="0,2:4,5").of(corpus), tmp_path / "out.zarr", by="layer", compress="zstd")
    group, theirs = zarr.open_consolidated(out, mode="r"), corpus.manifest
    for modality in MODALITIES:
        np.testing.assert_array_equal(group[modality.name], corpus.read(modality.name, slice(0, 6))[rows])
    with xarray.open_zarr(out) as data:
        assert data["chip"].values.tolist() == theirs.column("id")[rows].tolist()
        assert data["split"].values.tolist() == theirs.column("split")[rows].tolist()
        assert np.array_equal(data["longitude"], theirs.column("lon")[rows])
        assert np.array_equal(data["time"].values.astype("M8[s]"), theirs.column("anchor_time")[rows].astype("M8[s]"))
        assert data[OPTICAL.name].dims == ("chip", OPTICAL.band_axis, "y", "x")
        np.testing.assert_allclose(
            data[OPTICAL.name][1], OPTICAL.physical(corpus.read("optical", slice(2, 3))[0]), 1e-6
        )


@pytest.fixture(scope="module")
def of_every_dtype(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """One chip with a layer of each dtype, with its smallest and its largest value."""
    corpus = finished_corpus(tmp_path_factory.mktemp("dtypes") / "corpus", chips=1, shard_rows=1)
    for dtype in DTYPES:
        corpus.add(Modality(f"of_{dtype}", "Any", (Band("a"), Band("b")), dtype, 7))
    corpus = Corpus.open(corpus.folder)
    for dtype in DTYPES:
        limits = np.finfo(dtype) if np.dtype(dtype).kind == "f" else np.iinfo(dtype)
        stored = np.random.default_rng(0).integers(0, 100, (1, 2, 16, 16)).astype(dtype)
        stored[..., 0, :2] = limits.min, limits.max
        corpus.write(corpus.shards[0], f"of_{dtype}", stored, {})
    return corpus


@pytest.mark.parametrize("compress", ["zlib", "zstd", "none"])
def test_every_dtype_keeps_its_values(of_every_dtype, tmp_path, compress):
    out = convert(Choice().of(of_every_dtype), tmp_path / "out.zarr", compress=compress)
    for dtype in DTYPES:
        with rasterio.open(of_gdal(out, f"of_{dtype}", of_every_dtype.manifest[0])) as file:
            np.testing.assert_array_equal(file.read(), of_every_dtype.read(f"of_{dtype}", slice(0, 1))[0])
            assert file.nodata == 7


def test_options_that_do_not_exist_are_said(corpus, tmp_path):
    chosen = Choice(rows="0").of(corpus)
    with pytest.raises(Fatal, match="did you mean 'layer'"):
        convert(chosen, tmp_path / "out.zarr", by="layers")
    with pytest.raises(Fatal, match="did you mean 'zstd'"):
        convert(chosen, tmp_path / "out.zarr", compress="zst")
    assert not (tmp_path / "out.zarr").exists()
