"""A chip in xarray lies where it lies, for rioxarray and for GDAL behind a file; parts of a corpus can be saved."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401  # makes .rio
import xarray

import geocorpus
from geocorpus.georeferenced import georeferenced
from pipeline.modality import Modality
from tests.pipeline.chips import make_chip
from tests.pipeline.damage import finished_corpus
from tests.pipeline.older import with_layer_called


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> geocorpus.Corpus:
    made = finished_corpus(tmp_path_factory.mktemp("placed") / "corpus", chips=10, shard_rows=4)
    return geocorpus.open(made.folder)


def test_a_layer_of_an_older_store_keeps_its_name_where_a_coordinate_has_it_now(tmp_path: Path) -> None:
    corpus = geocorpus.open(with_layer_called(tmp_path, "epsg", 2).folder)
    data = corpus.chip(1).xarray()
    assert data["epsg"].dims == ("band_epsg",) and "epsg" not in data.coords and "longitude" in data.coords
    assert corpus.xarray()["epsg"].shape == (21, 2)


def test_a_chip_has_the_place_and_the_values_of_its_grid(corpus: geocorpus.Corpus) -> None:
    for row in (0, 7):
        chip = corpus.chip(row)
        data = chip.xarray()
        assert set(data.data_vars) == set(corpus.modalities)
        for placed in (data, data["optical"], data["cover"]):
            assert placed.rio.crs == rasterio.CRS.from_user_input(chip.grid.crs)
            assert placed.rio.transform(recalc=True) == rasterio.Affine(*chip.grid.transform)
            assert placed.rio.bounds() == chip.grid.bounds_xy
        np.testing.assert_array_equal(data["optical"], chip.physical("optical").astype(np.float32), strict=False)
        np.testing.assert_array_equal(data["cover"].to_numpy(), chip.stored("cover"), strict=True)
        np.testing.assert_array_equal(data["climate"].to_numpy(), chip.stored("climate"), strict=True)
        assert data["optical"].dtype == np.float32 and data["cover"].rio.nodata == 255
        assert data["optical"].sel(band_optical="green").shape == (16, 16)
        assert (data.attrs["id"], str(data["level"].item())) == (chip.location.id, chip.acquisition.level)
        assert data["time"].to_numpy().astype("M8[ms]").item() == chip.acquisition.date.replace(tzinfo=None)


@pytest.mark.parametrize(
    ("dtype", "expected"), [("uint8", "f4"), ("int16", "f4"), ("float16", "f4"), ("int32", "f8"), ("float64", "f8")]
)
def test_no_value_loses_digits(dtype: str, expected: str) -> None:

    layer = Modality("heights", "Heights", (geocorpus.Band("height", "m"),), dtype, 0)
    largest = np.full((1, 16, 16), 2**31 - 1 if dtype == "int32" else 100, dtype)
    data = georeferenced(make_chip(1), [(layer, largest)])
    assert data["heights"].dtype == np.dtype(expected) and (data["heights"] == largest.astype(float)).all()


def test_what_there_is_not_is_refused(corpus: geocorpus.Corpus) -> None:
    with pytest.raises(geocorpus.errors.Fatal, match="did you mean 'optical'"):
        corpus.chip(0).xarray(["optic"])
    assert set(corpus.chip(0).xarray(["cover"]).data_vars) == {"cover"}


def test_files_of_a_chip_are_where_the_chip_is(corpus: geocorpus.Corpus, tmp_path: Path) -> None:
    chip = corpus.chip(2)
    data = chip.xarray()
    data["optical"].rio.to_raster(tmp_path / "optical.tif")
    data.to_netcdf(tmp_path / "chip.nc", engine="h5netcdf")
    written = {"optical": tmp_path / "optical.tif", "cover": f"netcdf:{tmp_path / 'chip.nc'}:cover"}
    for name, path in written.items():
        with rasterio.open(path) as file:
            assert file.crs.to_epsg() == int(chip.grid.crs.split(":")[1])
            assert file.bounds == chip.grid.bounds_xy
            np.testing.assert_array_equal(file.read(), data[name].to_numpy(), strict=True)
    with xarray.open_dataset(tmp_path / "chip.nc", decode_coords="all", engine="h5netcdf") as again:
        assert again["optical"].rio.crs == data.rio.crs
        xarray.testing.assert_equal(again["optical"].load(), data["optical"])


def test_a_part_of_a_corpus_can_be_saved(corpus: geocorpus.Corpus, tmp_path: Path) -> None:
    few = corpus.xarray().isel(chip=slice(3, 9))  # begins within a shard of four
    few.to_netcdf(tmp_path / "few.nc", engine="h5netcdf")
    with h5py.File(tmp_path / "few.nc") as file:
        for name in corpus.modalities:
            np.testing.assert_array_equal(file[name][:], corpus.read(name, slice(3, 9)))
            described = Modality.from_specification(json.loads(file[name].attrs["geocorpus"]))
            assert described == corpus.modality(name)
