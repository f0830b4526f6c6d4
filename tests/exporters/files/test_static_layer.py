"""Layers whose source is files: what may be said of them, their index, and the record of where values came from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from affine import Affine
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pyproj import CRS, Transformer

from exporters import catalog
from exporters.files import file_index
from exporters.files.extent import extent_of
from exporters.files.file_index import FileIndex
from exporters.files.lattice import Lattice
from exporters.files.layer_files import files_of
from exporters.files.open_raster import OpenRaster
from exporters.files.static_layer import FromFiles, StaticLayer, settle, with_files
from pipeline.corpus_folder import SOURCES
from pipeline.errors import Fatal
from pipeline.grid import Grid
from pipeline.modality import Modality
from tests.exporters.files.rasters import write
from tests.exporters.files.test_same_pixels import chip_at

CANOPY, COVER = catalog.modalities(["canopy_height_eth", "esa_worldcover"])
CHIP = chip_at((6.6, 0.2))


def tile(path: Path, values: np.ndarray, west: float = 6.55, **more: object) -> Path:
    """A tile of 0.1 degrees around the chip."""
    path.parent.mkdir(exist_ok=True)
    step = 0.1 / values.shape[-1]
    write(path, values, Affine(step, 0, west, 0, -step, 0.25), "EPSG:4326", **more)
    return path


def static(layer: Modality, text: str, folder: Path) -> StaticLayer:
    source = with_files([layer], {layer.name: text}, folder)[0].source
    assert isinstance(source, FromFiles) and source.files
    return source.files


@settings(max_examples=60, deadline=None)
@given(
    crs=st.sampled_from([4326, 32601, 32660, 32733, 3035, 3857, 3413, 3031, 32661, 6933]),
    lon=st.floats(-180, 180), lat=st.floats(-89, 89), width=st.integers(1, 4000), turn=st.floats(0, 360),
    across=st.floats(0, 1), down=st.floats(0, 1),
)  # fmt: skip
def test_every_pixel_of_a_raster_lies_in_its_extent(
    crs: int, lon: float, lat: float, width: int, turn: float, across: float, down: float
) -> None:
    area = CRS(crs).area_of_use
    assert area is not None
    lon = area.west + (lon + 180) / 360 * ((area.east - area.west) % 360 or 360)
    lat = min(max(lat, area.south), area.north)
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
    step = 0.0001 if crs == 4326 else 30.0
    transform = Affine.translation(x, y) * Affine.rotation(turn if crs != 4326 else 0) * Affine.scale(step, -step)
    at = transform * (across * width, down * width)
    inside = Transformer.from_crs(crs, 4326, always_xy=True).transform(*at)
    assume(np.isfinite(inside).all())
    west, south, east, north = extent_of(Lattice(CRS(crs), tuple(transform)[:6]), (width, width))
    assert south <= inside[1] <= north
    assert any(west <= inside[0] + turn <= east for turn in (-360, 0, 360))


def test_bands_in_files_of_their_own_and_a_nodata_that_they_do_not_say(tmp_path: Path) -> None:
    height, deviation = np.full((1, 1000, 1000), 10, "uint8"), np.full((1, 1000, 1000), 3, "uint8")
    height[:, :, ::2] = 255
    tile(tmp_path / "h" / "a.tif", height)
    tile(tmp_path / "s" / "a.tif", deviation)
    text = 'nodata = 255\n[bands]\nheight = "h/*.tif"\nstd = ["s/a.tif"]\n'
    (tmp_path / "canopy.toml").write_text(text)
    values = static(CANOPY, f"files:{tmp_path}/canopy.toml", tmp_path).values(CHIP)
    assert values.shape == (2, 64, 64)
    assert np.isfinite(values[0]).any()
    np.testing.assert_allclose(values[0, np.isfinite(values[0])], 10)
    np.testing.assert_allclose(values[1], 3)


def test_bands_are_found_by_name_in_any_order(tmp_path: Path) -> None:
    import rasterio

    path = tile(tmp_path / "a.tif", np.stack([np.full((10, 10), number, "uint8") for number in (1, 2, 3)]))
    with pytest.raises(Fatal, match=r"has 3 bands \(\?, \?, \?\), and the layer needs height, std"):
        static(CANOPY, f"files:{path}", tmp_path).values(CHIP)
    with rasterio.open(path, "r+") as file:
        file.descriptions = ("std", "other", "height")
    assert static(CANOPY, f"files:{path}", tmp_path).values(CHIP)[:, 0, 0].tolist() == [3.0, 1.0]


def test_the_record_lists_the_files_and_spares_a_second_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tile(tmp_path / "a.tif", np.full((1, 10, 10), 10, "uint8"))
    tile(tmp_path / "b.tif", np.full((1, 10, 10), 20, "uint8"), west=7.0)
    layers = with_files([COVER, CANOPY], {COVER.name: f"files:{tmp_path}/*.tif"}, tmp_path)
    settle(layers, [], tmp_path)
    record = tmp_path / SOURCES / f"{COVER.name}.parquet"
    assert [Path(path).name for path in pq.read_table(record).column("path").to_pylist()] == ["a.tif", "b.tif"]
    assert b"geo" in pq.read_schema(record).metadata
    monkeypatch.setattr(file_index, "OpenRaster", pytest.fail)
    before = record.read_bytes()
    settle(with_files([COVER], {COVER.name: f"files:{tmp_path}/*.tif"}, tmp_path), [COVER.name], tmp_path)
    assert record.read_bytes() == before


def test_a_file_more_is_taken_up_and_a_file_less_is_refused(tmp_path: Path) -> None:
    path = tile(tmp_path / "a.tif", np.full((1, 10, 10), 10, "uint8"))

    def layers() -> list[Modality]:
        return with_files([COVER], {COVER.name: f"files:{tmp_path}/*.tif"}, tmp_path)

    settle(layers(), [], tmp_path)
    tile(tmp_path / "b.tif", np.full((1, 10, 10), 20, "uint8"))
    later = layers()
    settle(later, [COVER.name], tmp_path)
    assert (later[0].source.values(CHIP) == 20).all()
    path.unlink()
    with pytest.raises(Fatal, match=r"a\.tif, from which layer 'esa_worldcover' was begun, is gone or another file"):
        settle(layers(), [COVER.name], tmp_path)


def test_a_layer_does_not_change_its_source_midway(tmp_path: Path) -> None:
    path = tile(tmp_path / "a.tif", np.full((1, 10, 10), 10, "uint8"))
    layers = with_files([COVER], {COVER.name: f"files:{path}"}, tmp_path)
    with pytest.raises(Fatal, match="was begun from Earth Engine and cannot go on from files"):
        settle(layers, [COVER.name], tmp_path)
    settle(layers, [], tmp_path)
    settle([COVER], [], tmp_path)
    with pytest.raises(Fatal, match="was begun from files and cannot go on from Earth Engine"):
        settle([COVER], [COVER.name], tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("/data/*.tif", 'write "files:" and a path'),
        ("files:", 'write "files:" and a path'),
        ("files:absent.toml", "cannot be read as TOML"),
        ("files:{}/both.toml", "needs either files, or"),
        ("files:{}/none.toml", "gives no files for band 'std'"),
        ("files:{}/other.toml", "unknown band of layer 'canopy_height_eth'.*did you mean 'height'"),
        ("files:{}/key.toml", "nodatta is not allowed"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    for name, content in {
        "both": 'files = "a"\n[bands]\nheight = "a"\nstd = "b"',
        "none": '[bands]\nheight = "a"',
        "other": '[bands]\nheigth = "a"\nstd = "b"',
        "key": 'nodatta = 3\nfiles = "a"',
    }.items():
        (tmp_path / f"{name}.toml").write_text(content)
    with pytest.raises(Fatal, match=sentence) as caught:
        files_of(CANOPY, text.format(tmp_path))
    assert "\n" not in str(caught.value)


def test_layers_that_no_static_file_can_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="changes with the chip's date"):
        files_of(replace(COVER, time_rule="anchor"), "files:a.tif")
    with pytest.raises(Fatal, match="has one value per chip"):
        files_of(replace(COVER, extent="image"), "files:a.tif")
    with pytest.raises(Fatal, match="unknown layer of the corpus in source.layers 'esa_worldcovr'; did you mean"):
        with_files([COVER], {"esa_worldcovr": "files:a.tif"}, tmp_path)
    with pytest.raises(Fatal, match="no file is called"):
        static(COVER, f"files:{tmp_path}/*.tif", tmp_path).values(CHIP)


def test_the_index_finds_tiles_on_both_sides_of_the_antimeridian(tmp_path: Path) -> None:
    for west in (179.9, -180.0):
        tile(tmp_path / f"{west}.tif", np.ones((1, 10, 10), "uint8"), west=west)
    paths = sorted(str(path) for path in tmp_path.glob("*.tif"))
    index = FileIndex.of([paths])
    assert index.under(Grid.around((180.0, 0.2), "EPSG:32660", 64), 0) == paths
    assert index.under(Grid.around((0.0, 0.2), "EPSG:32631", 64), 0) == []


def test_an_alpha_band_is_no_band_of_the_layer(tmp_path: Path) -> None:
    path = tile(tmp_path / "a.tif", np.full((2, 10, 10), 255, "uint8"), alpha="YES")
    assert OpenRaster(str(path)).data_bands == (1,)
