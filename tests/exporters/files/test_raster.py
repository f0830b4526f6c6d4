"""Any raster on a chip's grid: against a plain loop over pixels, against GDAL, and against fields that are known."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from rasterio.enums import ColorInterp, Resampling
from rasterio.warp import reproject

from exporters.files import raster as raster_module
from exporters.files.header import variable_path
from exporters.files.open_raster import OpenRaster, is_remote, opened
from exporters.files.pixel_window import PixelWindow
from exporters.files.raster import RasterBands, read_mosaic, read_onto
from pipeline.errors import Fatal
from pipeline.grid import Grid
from tests.exporters.files.rasters import plainly, write

ORIGIN = (500_000.0, 5_000_000.0)
GRID = Grid("EPSG:32631", ORIGIN, (8, 8))


def lattice(origin: tuple[float, float] = ORIGIN, step: float = 10.0, turn_deg: float = 0.0) -> Affine:
    """Pixels of `step`, turned about their upper left corner."""
    return Affine.translation(*origin) * Affine.rotation(turn_deg) * Affine.scale(step, -step)


def noise(bands: int, height: int, width: int, dtype: str = "uint16", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 200, (bands, height, width)).astype(dtype)


def holes(values: np.ndarray, nodata: float) -> np.ndarray:
    return np.where(values == nodata, np.nan, values.astype(np.float64))


def test_own_pixels_are_copied(tmp_path: Path) -> None:
    values = noise(3, 20, 30)
    path = write(tmp_path / "a.tif", values, lattice((ORIGIN[0] - 40, ORIGIN[1] + 50)), nodata=7)
    for resampling in ("nearest", "bilinear"):
        got = read_onto(RasterBands(path, (3, 1)), GRID, resampling)
        np.testing.assert_array_equal(got, holes(values, 7)[[2, 0], 5:13, 4:12])


@settings(max_examples=30, deadline=None)
@given(
    turn=st.floats(-180, 180), step=st.floats(8, 60), east=st.floats(-150, 50), north=st.floats(-50, 150),
    crs=st.sampled_from(["EPSG:32631", "EPSG:32632", "EPSG:3035", "EPSG:3857"]),
    resampling=st.sampled_from(["nearest", "bilinear"]), seed=st.integers(0, 99),
)  # fmt: skip
def test_any_place_scale_and_rotation_is_as_a_plain_loop_reads_it(
    tmp_path_factory: pytest.TempPathFactory, turn: float, step: float, east: float, north: float, crs: str,
    resampling: Any, seed: int,
) -> None:  # fmt: skip
    values = noise(2, 17, 13, seed=seed)
    values[:, 3:6, 4:9] = 99
    middle = Transformer.from_crs(32631, crs, always_xy=True).transform(ORIGIN[0] + east, ORIGIN[1] + north)
    transform = lattice(middle, step, turn)
    path = write(tmp_path_factory.mktemp("any") / "a.tif", values, transform, crs, nodata=99)
    got = read_onto(RasterBands(path, (1, 2)), GRID, resampling)
    expected = plainly(holes(values, 99), transform, crs, GRID, resampling)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_bilinear_of_one_band_is_as_gdal_has_it(tmp_path: Path) -> None:
    values = noise(1, 60, 60, "float64")
    transform = Affine(0.00015, 0, 2.996, 0, -0.00015, 45.156)
    path = write(tmp_path / "a.tif", values, transform, "EPSG:4326")
    expected = np.full((1, 8, 8), np.nan)
    reproject(
        values, expected, src_transform=transform, src_crs="EPSG:4326", dst_transform=Affine(*GRID.transform),
        dst_crs=GRID.crs, resampling=Resampling.bilinear, dst_nodata=np.nan, tolerance=0,
    )  # fmt: skip
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(read_onto(RasterBands(path, (1,)), GRID, "bilinear"), expected, rtol=2e-5)


@pytest.mark.parametrize("turn", [5.0, 45.0, -130.0])
def test_a_plane_stays_a_plane_however_the_file_is_turned(tmp_path: Path, turn: float) -> None:
    transform = lattice((ORIGIN[0] + 40, ORIGIN[1] - 40), 7.0, turn) * Affine.translation(-30, -30)
    column, row = np.meshgrid(np.arange(60) + 0.5, np.arange(60) + 0.5)
    x, y = transform * (column, row)
    path = write(tmp_path / "a.tif", (x - 2 * y)[None], transform)
    east = ORIGIN[0] + 5 + 10 * np.arange(8)[None, :]
    north = ORIGIN[1] - 5 - 10 * np.arange(8)[:, None]
    np.testing.assert_allclose(read_onto(RasterBands(path, (1,)), GRID, "bilinear")[0], east - 2 * north, atol=1e-6)


def test_noise_keeps_its_spread_in_a_turned_file(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(1, 200, 200))
    transform = lattice((ORIGIN[0] + 40, ORIGIN[1] - 40), 10.0, 45.0) * Affine.translation(-100, -100)
    path = write(tmp_path / "a.tif", values, transform)
    got = read_onto(
        RasterBands(path, (1,)), Grid("EPSG:32631", (ORIGIN[0] - 280, ORIGIN[1] + 280), (64, 64)), "bilinear"
    )
    assert 0.62 < got.std() < 0.72  # GDAL's warp keeps 0.47


def test_nodata_is_not_averaged_in_whatever_the_number_of_bands(tmp_path: Path) -> None:
    values = np.full((2, 20, 20), 100, "int16")
    values[0, :, :10] = -9999
    path = write(tmp_path / "a.tif", values, lattice((ORIGIN[0] - 55, ORIGIN[1] + 55)), nodata=-9999)
    got = read_onto(RasterBands(path, (1, 2)), GRID, "bilinear")
    assert (got[np.isfinite(got)] == 100).all()
    assert np.isfinite(got[1]).all()
    assert np.isnan(got[0, :, :4]).all() and np.isfinite(got[0, :, 4:]).all()


def test_each_band_has_its_own_scale_and_offset(tmp_path: Path) -> None:
    values = noise(2, 8, 8)
    path = write(tmp_path / "a.tif", values, lattice(), nodata=5)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (0.1, 2.0), (-3.0, 0.5)
    expected = holes(values, 5) * np.array([0.1, 2.0])[:, None, None] + np.array([-3.0, 0.5])[:, None, None]
    np.testing.assert_array_equal(read_onto(RasterBands(path, (1, 2)), GRID, "nearest"), expected)


@pytest.mark.parametrize(
    ("dtype", "nodata", "hidden"),
    [
        ("float32", math.nan, [math.nan]),
        ("float32", -3.4028234663852886e38, [-3.4028234663852886e38]),
        ("float32", 0.1, [0.1]),
        ("float64", None, [math.nan, math.inf, -math.inf]),
        ("uint8", 255, [255]),
    ],
)
def test_nodata_of_any_kind_is_nan(tmp_path: Path, dtype: str, nodata: float | None, hidden: list[float]) -> None:
    values = noise(1, 8, 8, dtype)
    for column, number in enumerate(hidden):
        values[0, 2, column] = number
    path = write(tmp_path / "a.tif", values, lattice(), nodata=nodata)
    got = read_onto(RasterBands(path, (1,)), GRID, "bilinear")
    assert np.isnan(got).sum() == len(hidden) and np.isnan(got[0, 2, : len(hidden)]).all()


def test_nodata_that_the_dtype_cannot_hold_hides_nothing(tmp_path: Path) -> None:
    values = noise(1, 8, 8, "uint8")
    path = write(tmp_path / "a.tif", values, lattice())
    text = Path(path).with_suffix(".vrt")
    text.write_text(
        f'<VRTDataset rasterXSize="8" rasterYSize="8"><SRS>EPSG:32631</SRS><GeoTransform>500000,10,0,5000000,0,-10'
        f'</GeoTransform><VRTRasterBand dataType="Byte" band="1"><NoDataValue>-9999</NoDataValue><SimpleSource>'
        f"<SourceFilename>{path}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    np.testing.assert_array_equal(read_onto(RasterBands(str(text), (1,)), GRID, "nearest"), values)


def test_a_nodata_that_the_file_does_not_say_hides_before_interpolation(tmp_path: Path) -> None:
    values = np.full((1, 20, 20), 10, "uint8")
    values[:, :, :10] = 255
    path = write(tmp_path / "a.tif", values, lattice((ORIGIN[0] - 55, ORIGIN[1] + 55)))
    got = read_onto(RasterBands(path, (1,), nodata=255), GRID, "bilinear")
    assert (got[:, :, 4:] == 10).all() and np.isnan(got[:, :, :4]).all()


def test_a_mask_hides_beside_nodata(tmp_path: Path) -> None:
    values = noise(2, 8, 8)
    path = write(tmp_path / "a.tif", values, lattice())
    mask = np.full((8, 8), 255, "uint8")
    mask[:, 3] = 0
    with rasterio.open(path, "r+") as file:
        file.write_mask(mask)
    got = read_onto(RasterBands(path, (1, 2)), GRID, "nearest")
    assert np.isnan(got[:, :, 3]).all() and np.isnan(got).sum() == 16


def test_alpha_hides_unless_it_is_asked_for_as_a_band(tmp_path: Path) -> None:
    values = noise(4, 8, 8, "uint8")
    values[3, 1, 1] = 0
    path = write(tmp_path / "a.tif", values, lattice(), photometric="RGB", alpha="YES")
    with rasterio.open(path) as file:
        assert file.colorinterp[3] == ColorInterp.alpha
    got = read_onto(RasterBands(path, (1, 2, 3)), GRID, "nearest")
    assert np.isnan(got[:, 1, 1]).all() and np.isnan(got).sum() == 3
    np.testing.assert_array_equal(read_onto(RasterBands(path, (1, 4)), GRID, "nearest"), values[[0, 3]])


@pytest.mark.parametrize("name", ["EPSG:5041", "EPSG:32661"])
@pytest.mark.parametrize("grid_name", ["EPSG:5041", "EPSG:32661"])
def test_both_names_of_the_polar_grid_are_one(tmp_path: Path, name: str, grid_name: str) -> None:
    values = noise(1, 8, 8)
    path = write(tmp_path / "a.tif", values, lattice((2_100_000, 1_700_000)), name)
    grid = Grid(grid_name, (2_100_000, 1_700_000), (8, 8))
    np.testing.assert_array_equal(read_onto(RasterBands(path, (1,)), grid, "bilinear"), values)


@pytest.mark.parametrize("west", [-180.0, 0.0, 179.0, -181.0])
def test_the_antimeridian_is_no_border(tmp_path: Path, west: float) -> None:
    """A field of longitude and latitude in files that begin anywhere, or end at the antimeridian on either side."""
    span, step = (360.0, 0.5) if west in (-180.0, 0.0) else (2.0, 0.125)
    lon = np.arange(west + step / 2, west + span, step)
    lat = np.arange(-16 - step / 2, -19, -step)
    values = np.cos(np.deg2rad(lon))[None, None, :] * 1000 + lat[None, :, None]
    path = write(tmp_path / "a.tif", values, Affine(step, 0, west, 0, -step, -16), "EPSG:4326")
    grid = Grid.around((180.0, -17.3), "EPSG:32660", 64)
    got = read_onto(RasterBands(path, (1,)), grid, "bilinear")
    assert np.isfinite(got).all()
    assert np.abs(np.diff(got[0], axis=1)).max() < 0.01
    assert got.mean() == pytest.approx(-1000 - 17.3, abs=0.05)


def test_two_files_meet_at_the_antimeridian_and_elsewhere_without_a_seam(tmp_path: Path) -> None:
    sources = []
    for west in (179.0, -180.0):
        lon = np.arange(west + 0.125, west + 1, 0.25) % 360
        values = np.broadcast_to(lon, (1, 8, 4)).copy()
        path = write(tmp_path / f"{west}.tif", values, Affine(0.25, 0, west, 0, -0.25, -16), "EPSG:4326")
        sources.append(RasterBands(path, (1,)))
    grid = Grid.around((180.0, -17.0), "EPSG:32760", 64)
    lon, _ = Transformer.from_crs(32760, 4326, always_xy=True).transform(
        *np.meshgrid(grid.origin_xy[0] + 5 + 10 * np.arange(64), grid.origin_xy[1] - 5 - 10 * np.arange(64))
    )
    np.testing.assert_allclose(read_mosaic(sources, grid, "bilinear")[0], np.asarray(lon) % 360, atol=1e-6)


@pytest.mark.parametrize("resampling", ["nearest", "bilinear"])
@pytest.mark.parametrize("order", ["aba", "aab", "baa", "abab"])
def test_the_last_is_on_top_whatever_pixels_the_files_have(tmp_path: Path, order: str, resampling: str) -> None:
    """Files of one number each, a and b of lattices that part by a third of a pixel, all over each other."""
    middles = 5.0 + 10 * np.arange(8)
    sources, expected, inside = [], np.zeros(8), np.full(8, True)
    for number, kind in enumerate(order):
        west = 20.0 * number - 40 + (3.3 if kind == "b" else 0)
        values = np.full((1, 16, 16), number + 1.0)
        path = write(tmp_path / f"{number}.tif", values, lattice((ORIGIN[0] + west, ORIGIN[1] + 40)))
        sources.append(RasterBands(path, (1,)))
        expected[middles > west] = number + 1
        inside &= (middles < west) | (middles >= west + 5)  # there, a border with another file is interpolated
    got = read_mosaic(sources, GRID, resampling)[0]
    np.testing.assert_array_equal(got[:, inside], np.broadcast_to(expected, (8, 8))[:, inside])
    assert inside.sum() >= 7


@pytest.mark.parametrize("between", [False, True])
def test_a_file_with_other_pixels_between_two_tiles_makes_no_seam(tmp_path: Path, between: bool) -> None:
    """A field of x in two tiles whose border is under the grid, listed with a file of other pixels between them."""
    sources = []
    for name, west in (("1", -60.0), ("3", 30.0)):
        x = np.broadcast_to(west + 4.5 + 9 * np.arange(10), (1, 20, 10)).copy()
        path = write(tmp_path / f"{name}.tif", x, lattice((ORIGIN[0] + west, ORIGIN[1] + 40), step=9))
        sources.append(RasterBands(path, (1,)))
    elsewhere = write(tmp_path / "2.tif", np.ones((1, 1, 1)), lattice((ORIGIN[0] + 900, ORIGIN[1])))
    listed = [sources[0], *([RasterBands(elsewhere, (1,))] if between else []), sources[1]]
    got = read_mosaic(listed, GRID, "bilinear")
    np.testing.assert_allclose(got[0], np.broadcast_to(5.0 + 10 * np.arange(8), (8, 8)), atol=1e-6)


def test_the_last_file_with_data_is_on_top(tmp_path: Path) -> None:
    below, above = noise(1, 8, 8), noise(1, 8, 8, seed=1)
    above[0, 4:] = 0
    sources = [
        RasterBands(write(tmp_path / "below.tif", below, lattice()), (1,)),
        RasterBands(write(tmp_path / "above.tif", above, lattice(), nodata=0), (1,)),
    ]
    expected = np.concatenate([above[:, :4], below[:, 4:]], axis=1)
    np.testing.assert_array_equal(read_mosaic(sources, GRID, "nearest"), expected)


def test_a_much_finer_file_is_averaged_by_halves_for_bilinear_and_not_for_nearest(tmp_path: Path) -> None:
    values = noise(1, 80, 80, "float64")
    values[0, 0, 0] = -1
    path = write(tmp_path / "a.tif", values, lattice(step=1.0), nodata=-1)
    averaged = np.nanmean(holes(values, -1)[0].reshape(10, 8, 10, 8), axis=(1, 3))
    grid = Grid("EPSG:32631", ORIGIN, (10, 10), 8.0)
    np.testing.assert_allclose(read_onto(RasterBands(path, (1,)), grid, "bilinear")[0], averaged)
    np.testing.assert_array_equal(read_onto(RasterBands(path, (1,)), grid, "nearest")[0], values[0, 4::8, 4::8])


def test_memory_is_bounded_by_parts_and_the_parts_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = noise(2, 90, 90, "float32")
    transform = Affine(0.00002, 0, 2.9995, 0, -0.00002, 45.1535)
    source = RasterBands(write(tmp_path / "a.tif", values, transform, "EPSG:4326"), (1, 2))
    for resampling in ("nearest", "bilinear"):
        whole = read_onto(source, GRID, resampling)
        monkeypatch.setattr(raster_module, "_MOST_VALUES", 64)
        np.testing.assert_array_equal(read_onto(source, GRID, resampling), whole)
        monkeypatch.undo()


def test_only_the_pixels_under_the_chip_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.tif", noise(1, 2000, 2000, "uint8"), lattice(step=10.3), tiled=True)
    windows = []
    physical = OpenRaster.physical

    def counted(self: OpenRaster, bands: Sequence[int], window: PixelWindow, nodata: float | None) -> np.ndarray:
        windows.append(window)
        return physical(self, bands, window, nodata)

    monkeypatch.setattr(OpenRaster, "physical", counted)
    read_onto(RasterBands(path, (1,)), GRID, "bilinear")
    assert sum(window.pixels for window in windows) <= 11 * 11


@pytest.mark.parametrize(
    ("crs", "transform", "sentence"),
    [
        (None, lattice(), "has no CRS"),
        ("EPSG:32631", Affine.identity(), "does not say where its pixels lie"),
        ("+proj=eqc +R=1737400 +units=m", lattice(), "is not of Earth"),
        ('LOCAL_CS["a table",UNIT["metre",1]]', lattice(), "without a place on Earth"),
    ],
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_file_without_a_place_on_earth_is_refused(tmp_path: Path, crs: Any, transform: Affine, sentence: str) -> None:
    path = write(tmp_path / "a.tif", noise(1, 8, 8), transform, crs)
    with pytest.raises(Fatal, match=sentence):
        read_onto(RasterBands(path, (1,)), GRID, "nearest")


def test_a_damaged_or_absent_file_and_an_absent_band_are_refused(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "a.tif", noise(1, 64, 64), lattice(), compress="deflate"))
    with pytest.raises(Fatal, match="has 1 bands, so none of number 2"):
        read_onto(RasterBands(str(path), (2,)), GRID, "nearest")
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(Fatal, match="cannot be read as a raster"):
        read_onto(RasterBands(str(path), (1,)), GRID, "nearest")
    with pytest.raises(Fatal, match=r"absent.tif cannot be read as a raster"):
        read_onto(RasterBands(str(tmp_path / "absent.tif"), (1,)), GRID, "nearest")


def test_a_file_that_was_replaced_is_opened_again(tmp_path: Path) -> None:
    for seed in (1, 2):
        values = noise(1, 8, 8, seed=seed)
        temporary = Path(write(tmp_path / "new.tif", values, lattice()))
        temporary.rename(tmp_path / "a.tif")
        np.testing.assert_array_equal(read_onto(RasterBands(str(tmp_path / "a.tif"), (1,)), GRID, "nearest"), values)


def test_a_netcdf_file_that_was_replaced_is_opened_again(tmp_path: Path) -> None:
    for seed in (1, 2):
        values = noise(1, 8, 8, "int16", seed)
        rasterio.shutil.copy(write(tmp_path / "a.tif", values, lattice()), tmp_path / "new.nc", driver="netCDF")
        (tmp_path / "new.nc").rename(tmp_path / "a.nc")
        source = RasterBands(variable_path(str(tmp_path / "a.nc"), "Band1"), (1,))
        np.testing.assert_array_equal(read_onto(source, GRID, "nearest"), values)


@pytest.mark.parametrize("name", ["a.h5", "a.nc"])
def test_a_damaged_file_of_variables_on_the_disk_is_not_waited_for(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no such file")
    with pytest.raises(Fatal, match="cannot be read as a raster"):
        opened(variable_path(str(tmp_path / name), "v"))


@pytest.mark.parametrize(
    ("path", "remote"),
    [
        ("/a/b.tif", False), (variable_path("/a/b.h5", "v"), False), (variable_path("/a/b.nc", "v"), False),
        (variable_path("/vsicurl/https://x/b.h5", "v"), True), (variable_path("https://x/b.nc", "v"), True),
        ("https://x/b.tif", True), ("/vsis3/x/b.tif", True),
    ],
)  # fmt: skip
def test_the_file_and_not_the_variable_says_whether_it_is_remote(path: str, remote: bool) -> None:
    assert is_remote(path) is remote


def test_threads_and_a_forked_child_have_files_of_their_own(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", noise(1, 8, 8), lattice())
    ours, seen = opened(path), []
    assert opened(path) is ours
    thread = threading.Thread(target=lambda: seen.append(opened(path)))
    thread.start()
    thread.join()
    assert seen[0] is not ours
    # In a process of its own: a fork of this one would inherit whatever locks other tests' threads hold.
    subprocess.run([sys.executable, "-c", _FORKING, path], check=True, timeout=120)


_FORKING = """
import multiprocessing, sys
from exporters.files.open_raster import opened

def identity(path):
    return id(opened(path))

ours = identity(sys.argv[1])
with multiprocessing.get_context("fork").Pool(1) as pool:
    assert pool.apply(identity, (sys.argv[1],)) != ours
"""


@pytest.mark.parametrize("kind", ["DEM", "S2L2A", "LULC"])
def test_real_scenes_are_as_gdal_reads_them(shared_data: Path, kind: str) -> None:
    path = sorted((shared_data / "scenes" / kind).glob("*.tif"))[0]
    with rasterio.open(path) as file:
        crs, bounds, bands = file.crs, file.bounds, tuple(range(1, file.count + 1))
        values, transform = file.read().astype(np.float64), file.transform
    resampling: Any = "nearest" if kind == "LULC" else "bilinear"
    grid = Grid(crs.to_string(), (round(bounds.left, -1) + 400, round(bounds.top, -1) - 400), (64, 64))
    expected = np.full((len(bands), 64, 64), np.nan)
    reproject(
        values, expected, src_transform=transform, src_crs=crs, dst_transform=Affine(*grid.transform), dst_crs=crs,
        resampling=Resampling[resampling], dst_nodata=np.nan, tolerance=0,
    )  # fmt: skip
    np.testing.assert_allclose(read_onto(RasterBands(str(path), bands), grid, resampling), expected, rtol=1e-6)
