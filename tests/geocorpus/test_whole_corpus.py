"""A whole corpus in xarray says where each chip is, has the values of its chips, and any rows of it can be saved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import geocorpus
from geocorpus import whole_corpus
from geocorpus.whole_corpus import _rows_at_once
from pipeline.corpus_folder import MANIFEST
from tests.pipeline.chips import COVER, make_manifest
from tests.pipeline.damage import finished_corpus

ROWS = 11
SELECTIONS: list[Any] = [slice(3, 9), slice(1, None, 3), [9, 2, 3, 8], slice(0, 0), slice(None)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> geocorpus.Corpus:
    made = finished_corpus(tmp_path_factory.mktemp("whole") / "corpus", chips=ROWS, shard_rows=4)
    return geocorpus.open(made.folder)


@pytest.fixture
def data(corpus: geocorpus.Corpus, monkeypatch: pytest.MonkeyPatch) -> xr.Dataset:
    """In chunks of two rows, of which parts hold pieces."""
    monkeypatch.setattr(whole_corpus, "_CHUNK_BYTES", 2 * 3 * 16 * 16 * 4)
    data = corpus.xarray()
    assert data["optical"].chunks is not None and data["optical"].chunks[0] == (2, 2, 2, 2, 2, 1)
    return data


def stored(corpus: geocorpus.Corpus, name: str, rows: Any) -> np.ndarray:
    return np.asarray(corpus.read(name, slice(0, ROWS))[rows])


def test_values_are_those_of_its_chips(corpus: geocorpus.Corpus, data: xr.Dataset) -> None:
    for row in range(ROWS):
        chip = corpus.chip(row).xarray()
        for name in corpus.modalities:
            np.testing.assert_array_equal(data[name][row].to_numpy(), chip[name].to_numpy(), strict=True)
    assert data["cover"].dtype == np.uint8 and data["cover"].attrs["nodata"] == 255
    assert data["optical"].dtype == np.float32 and data["climate"].dtype == np.float32


def test_a_chip_of_it_is_where_the_chip_itself_is(corpus: geocorpus.Corpus, data: xr.Dataset) -> None:
    for row in (0, 5, 10):
        one, chip = data.isel(chip=row), corpus.chip(row).xarray()
        assert f"EPSG:{int(one['epsg'])}" == corpus.manifest[row].grid.crs
        left, _, _, top = chip.rio.bounds()
        assert (float(one["origin_x_m"]), float(one["origin_y_m"])) == (left, top)
        for name in set(one.coords) - {"band_climate"}:
            assert one[name].variable.equals(chip[name].variable), name


@pytest.mark.parametrize("rows", SELECTIONS, ids=str)
def test_any_rows_can_be_saved_as_zarr(
    corpus: geocorpus.Corpus, data: xr.Dataset, rows: Sequence[int] | slice, tmp_path: Path
) -> None:
    few = data.isel(chip=rows)
    few.to_zarr(tmp_path / "few.zarr", consolidated=False)
    with xr.open_zarr(tmp_path / "few.zarr", consolidated=False, mask_and_scale=False) as again:
        for name in corpus.modalities:
            np.testing.assert_array_equal(again[name].to_numpy(), stored(corpus, name, rows), strict=True)
    with xr.open_zarr(tmp_path / "few.zarr", consolidated=False) as again:
        assert again["cover"].dtype == np.uint8 and set(again.coords) == set(few.coords)
        for name in few.coords:
            np.testing.assert_array_equal(again[name].to_numpy(), few[name].to_numpy())


def test_any_rows_can_be_saved_as_netcdf(corpus: geocorpus.Corpus, data: xr.Dataset, tmp_path: Path) -> None:
    data.isel(chip=[9, 2, 3]).to_netcdf(tmp_path / "few.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "few.nc", engine="h5netcdf", mask_and_scale=False) as again:
        for name in corpus.modalities:
            np.testing.assert_array_equal(again[name].to_numpy(), stored(corpus, name, [9, 2, 3]), strict=True)


def test_a_window_of_some_bands_can_be_saved(data: xr.Dataset, tmp_path: Path) -> None:
    few = data[["optical"]].isel(chip=slice(1, 8), band_optical=[2, 0], x=slice(3, 9))
    few.to_zarr(tmp_path / "few.zarr", consolidated=False)
    with xr.open_zarr(tmp_path / "few.zarr", consolidated=False) as again:
        np.testing.assert_allclose(again["optical"].to_numpy(), few["optical"].to_numpy(), rtol=1e-6)


def test_a_layer_that_is_added_is_there_at_once(tmp_path: Path) -> None:
    finished_corpus(tmp_path, chips=ROWS, shard_rows=4)
    other = COVER.__class__("ground", "Ground", COVER.bands, "uint8", 255, categories=COVER.categories)
    geocorpus.open(tmp_path).add(other)
    assert "ground" in geocorpus.open(tmp_path).xarray()
    with xr.open_zarr(tmp_path / "corpus.zarr", consolidated=False) as plain:
        assert "ground" in plain


def test_a_store_of_an_older_format_opens_with_what_it_has(tmp_path: Path) -> None:
    make_manifest(tmp_path, ROWS)
    geocorpus.Corpus.create(tmp_path, [COVER], 4, format_version=2)
    data = geocorpus.open(tmp_path).xarray()
    assert "epsg" not in data.coords and data["split"].to_numpy().tolist().count("val") > 0
    assert (tmp_path / MANIFEST).exists() and (data["cover"] == 255).all()


@given(st.integers(1, 1024), st.integers(1, 2**28), st.integers(1, 2_000_000))
def test_chunks_end_where_shards_do(shard_rows: int, row_bytes: int, count: int) -> None:
    rows = _rows_at_once(shard_rows, row_bytes, count)
    assert rows >= 1 and (rows % shard_rows == 0 or shard_rows % rows == 0)
    assert rows * row_bytes <= 2**27 or rows % 2 == 1 or rows == 1
