"""GeoTIFFs, COGs, VRTs and STAC as rasterio, GDAL and pystac read them, against the corpus itself."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.enums import MaskFlags
from rasterio.windows import Window, from_bounds

from exporters.formats.chip_facts import chip_facts
from exporters.formats.chip_raster import ChipRaster
from exporters.formats.choice import Choice
from exporters.formats.convert import write_out
from exporters.formats.format import format_of
from exporters.formats.raster_names import chip_name
from exporters.formats.stac_chips import item
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.grid import Grid
from pipeline.location import Location
from pipeline.manifest import Manifest
from pipeline.modality import Band, Modality
from pipeline.progress import Silent
from tests.pipeline.chips import CLIMATE, COVER, MODALITIES, OPTICAL, make_block, make_chip
from tests.pipeline.damage import finished_corpus

DRIVERS = {"geotiff": "GTiff", "cog": "COG"}


def convert(corpus: Corpus, target: Path, to: str, choice: Choice | None = None, **options: str) -> Path:
    selection = (choice or Choice()).of(corpus)
    write_out(format_of(to, options), selection, target, options, False, Silent())
    return target


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return finished_corpus(tmp_path_factory.mktemp("rasters") / "corpus", chips=6, shard_rows=4)


@pytest.fixture(scope="module", params=sorted(DRIVERS))
def folder(request: pytest.FixtureRequest, corpus: Corpus) -> Path:
    return convert(corpus, corpus.folder.parent / request.param, request.param)


def raster(folder: Path, layer: str, chip) -> Path:
    return folder / layer / "0000" / f"{chip.location.id}_{layer}.tif"


@pytest.mark.parametrize("modality", MODALITIES, ids=lambda modality: modality.name)
def test_values_and_what_they_mean_are_those_of_the_corpus(corpus, folder, modality):
    stored = corpus.read(modality.name, slice(0, 6))
    for chip in corpus.manifest:
        with rasterio.open(raster(folder, modality.name, chip)) as file:
            pixels = file.read()
            assert np.array_equal(pixels.squeeze(), stored[chip.row].squeeze(), equal_nan=pixels.dtype.kind == "f")
            assert file.dtypes == (modality.dtype,) * len(modality.bands)
            assert file.crs.to_string() == chip.grid.crs and np.isclose(file.bounds, chip.grid.bounds_xy).all()
            assert (file.descriptions, file.scales[0]) == (modality.band_names, modality.scale)
            assert file.units == tuple(band.units for band in modality.bands)
            assert file.nodata == modality.nodata or np.isnan([file.nodata, modality.nodata]).all()
            assert np.array_equal(file.read_masks().squeeze() == 255, modality.valid(stored[chip.row]).squeeze())
            tags = file.tags()
            assert (tags["id"], tags["layer"], int(tags["row"])) == (chip.location.id, modality.name, chip.row)
            assert tags["anchor_id"] == chip.acquisition.anchor.asset_id
            assert datetime.fromisoformat(tags["anchor_time"]) == chip.acquisition.date


def test_classes_have_their_colours_and_names(corpus, folder, tmp_path):
    path = raster(folder, "cover", corpus.manifest[0])
    with rasterio.open(path) as file:
        assert file.colormap(1)[20] == (0xFF, 0xBB, 0x22, 255)
        assert file.tags()["class_20"] == "Shrub, low"
    rasterio.shutil.copy(path, tmp_path / "copy.vrt", driver="VRT")  # writes down what GDAL has understood
    understood = (tmp_path / "copy.vrt").read_text()
    assert "<Category>Shrub, low</Category>" in understood
    assert "<GDALRasterAttributeTable" in understood and "<F>Water</F>" in understood


@pytest.mark.skipif(not shutil.which("gdalinfo"), reason="GDAL's command line (Debian: gdal-bin) is not installed")
def test_gdal_on_the_command_line_agrees(corpus, folder):
    chip = corpus.manifest[0]
    command = ["gdalinfo", "-json", "-mm", str(raster(folder, "cover", chip))]
    about = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    band, stored = about["bands"][0], corpus.read("cover", slice(0, 1))
    valid = stored[COVER.valid(stored)]
    assert (band["computedMin"], band["computedMax"]) == (valid.min(), valid.max())
    assert band["noDataValue"] == 255 and band["colorInterpretation"] == "Palette"
    assert about["rat"]["row"][1]["f"][:2] == [20, "Shrub, low"]


@pytest.mark.parametrize("driver", DRIVERS.values())
@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64"]
)
def test_every_dtype_keeps_its_values(tmp_path, dtype, driver):
    layer = Modality("any", "Any", (Band("a"), Band("b"), Band("c"), Band("d")), dtype, 7)
    limits = np.finfo(dtype) if np.dtype(dtype).kind == "f" else np.iinfo(dtype)
    stored = np.random.default_rng(0).integers(0, 100, (4, 16, 16)).astype(dtype)
    stored[:, 0, :2] = limits.min, limits.max
    ChipRaster(layer, driver, "DEFLATE").write(tmp_path / "a.tif", make_chip(1), stored)
    with rasterio.open(tmp_path / "a.tif") as file:
        np.testing.assert_array_equal(file.read(), stored)
        assert file.descriptions == ("a", "b", "c", "d")
        assert file.mask_flag_enums == ([MaskFlags.nodata],) * 4  # the fourth of four bytes is no mask


@pytest.mark.parametrize("compress", ["none", "lzw", "zstd"])
def test_compressions(corpus, tmp_path, compress):
    for to in DRIVERS:
        out = convert(corpus, tmp_path / to, to, Choice(rows="2", layers=["optical"]), compress=compress)
        with rasterio.open(raster(out, "optical", corpus.manifest[2])) as file:
            assert file.profile.get("compress", "none").lower() == compress
            assert np.array_equal(file.read(), corpus.read("optical", slice(2, 3))[0])
    with pytest.raises(Fatal, match="did you mean 'zstd'"):
        convert(corpus, tmp_path / "bad", "geotiff", compress="zstt")


def neighbours(folder: Path) -> Corpus:
    """Five chips in one zone, of which neighbours overlap by half, and one far away in it."""
    chips = []
    for number, x in enumerate((500000, 500080, 500160, 500240, 500320, 600000)):
        grid = Grid("EPSG:32632", (x, 5_000_000.0 - 10 * number), (16, 16))
        chip = make_chip(number)
        chips.append(replace(chip, grid=grid, location=replace(chip.location, id=f"n{number}")))
    folder.mkdir()
    Manifest.freeze(chips, 0).write(folder / "manifest.parquet")
    corpus = Corpus.create(folder, MODALITIES, 4)
    for modality in MODALITIES:
        for shard in corpus.shards:
            corpus.write(shard, modality.name, make_block(modality, len(shard), 16, shard.index), {})
    corpus.finalize()
    return Corpus.open(folder)


@pytest.mark.parametrize("modality", MODALITIES, ids=lambda modality: modality.name)
def test_a_mosaic_is_its_chips_side_by_side(tmp_path, modality):
    corpus = neighbours(tmp_path / "corpus")
    out = convert(corpus, tmp_path / "out", "geotiff")
    stored = corpus.read(modality.name, slice(0, 6))
    canvas = np.full((len(modality.bands), 21, 10016), modality.fill)
    for chip, values in zip(corpus.manifest, stored, strict=True):
        column, row = round((chip.grid.origin_xy[0] - 500000) / 10), round((5_000_000 - chip.grid.origin_xy[1]) / 10)
        pixels = np.broadcast_to(values.reshape(len(values), *(values.shape[1:] or (1, 1))), (len(values), 16, 16))
        here = canvas[:, row : row + 16, column : column + 16]
        here[...] = np.where(modality.valid(pixels), pixels, here)
    with rasterio.open(out / "mosaics" / f"{modality.name}_epsg_32632.vrt") as file:
        assert file.shape == (21, 10016) and file.crs.to_epsg() == 32632 and file.descriptions == modality.band_names
        np.testing.assert_array_equal(file.read(window=Window(0, 0, 60, 21)), canvas[:, :, :60])
        np.testing.assert_array_equal(file.read(window=Window(9990, 0, 26, 21)), canvas[:, :, 9990:])
        far = from_bounds(
            *next(chip for chip in corpus.manifest if chip.location.id == "n5").grid.bounds_xy, file.transform
        )
        assert (far.col_off, far.width) == (10000, 16)
        if modality.categories:
            assert file.colormap(1)[10] == (0, 0x64, 0, 255)


def test_stac_leads_to_every_file(corpus, folder):
    pystac = pytest.importorskip("pystac", reason="pystac is not installed")
    from pystac.extensions.projection import ProjectionExtension

    collection = pystac.Collection.from_file(str(folder / "collection.json"))
    items = {each.id: each for each in collection.get_items(recursive=True)}
    assert set(items) == {chip.location.id for chip in corpus.manifest}
    for chip in corpus.manifest:
        found = items[chip.location.id]
        assert found.datetime == chip.acquisition.date and found.get_collection().id == collection.id
        assert found.properties["geocorpus:split"] == chip.split
        for name, asset in found.assets.items():
            with rasterio.open(asset.get_absolute_href()) as file:
                projection = ProjectionExtension.ext(asset)
                assert (projection.code, tuple(projection.shape)) == (file.crs.to_string(), file.shape)
                assert rasterio.Affine(*projection.transform[:6]) == file.transform
                bands = asset.to_dict()["bands"]
                assert tuple(band["name"] for band in bands) == file.descriptions
                assert bands[0].get("raster:scale", 1) == file.scales[0] and file.tags()["layer"] == name
    west, south, east, north = collection.extent.spatial.bboxes[0]
    assert all(west < chip.location.lon < east and south < chip.location.lat < north for chip in corpus.manifest)
    for asset in collection.assets.values():
        with rasterio.open(folder / asset.href) as file:
            assert file.count


def test_an_item_across_the_antimeridian_is_cut_there():
    chip = replace(make_chip(1), grid=Grid.around((180.0, -17.0), "EPSG:32760", 128))
    plain = item(chip, [OPTICAL, CLIMATE], "image/tiff")
    west, _, east, _ = plain["bbox"]
    assert west > 179.9 and east < -179.9 and plain["geometry"]["type"] == "MultiPolygon"
    lon = [point[0] for polygon in plain["geometry"]["coordinates"] for point in polygon[0]]
    assert max(np.abs(lon)) == 180 and {180.0, -180.0} <= set(lon)


def test_facts_are_plain_and_what_is_unknown_has_no_key():
    own = {
        "day": date(2020, 1, 2),
        "at": datetime(2020, 1, 2, 3, tzinfo=UTC),
        "area": b"wkb",
        "crop": "maize",
        "n": None,
    }
    facts = chip_facts(replace(make_chip(3), own=own))
    assert (facts["own_day"], facts["own_at"], facts["own_crop"]) == ("2020-01-02", "2020-01-02T03:00:00Z", "maize")
    assert not {"own_area", "own_n", "descending_id", "ecoregion"} & set(facts)


@pytest.mark.parametrize(
    ("id", "name"),
    [("a1.b-2", "a1.b-2"), ("../up", "row-5"), ("a b", "row-5"), ("", "row-5"), ("row-7", "row-5")],  # 7 is another's
)
def test_a_name_never_leaves_its_folder(id, name):
    assert chip_name(replace(make_chip(1), row=5, location=Location(id, 0.0, 0.0))) == name
