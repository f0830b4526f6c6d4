"""Corpora from files: values as rasterio reads them, and one sentence for what does not fit its description."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio

from exporters.formats.corpora.merger import Merger
from flows import file_source, merging, stages
from flows.closing import Closing
from flows.settings import load, with_overrides
from flows.terminal import run
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.progress import Silent
from tests.flows.file_corpora import SPLIT, as_read, build, raster, settings
from tests.flows.jobs import geocorpus

RANDOM = np.random.default_rng(5)


def noise(bands: int, size_px: int = 16, dtype: str = "uint16", top: int = 9000) -> np.ndarray:
    return RANDOM.integers(0, top, (bands, size_px, size_px)).astype(dtype)


def same_as_files(corpus: Corpus, folder: Path, name: str) -> None:
    """Every pixel of a layer on the files' own grid is that of the file, in the layer's dtype."""
    block, size_px = corpus.read(name, slice(0, len(corpus.manifest))), corpus.manifest.size_px
    for chip in corpus.manifest:
        raw = as_read(folder / chip.own[f"file_{name}"], chip.grid.origin_xy, size_px)
        np.testing.assert_array_equal(block[chip.row], raw.astype(block.dtype), err_msg=chip.location.id)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four places far from each other, each of 16 x 16 px with two bands."""
    for number in range(4):
        raster(tmp_path / "in" / "ab"[number % 2] / f"p{number}.tif", noise(2), (500_000.0, 5e6 + number * 3e5))
    return tmp_path / "in"


IMAGE = {"files": "*/*.tif", "bands": ["red", "nir"]}


def test_a_folder_of_tiles_with_their_class_in_the_folders_name(tmp_path, folder):
    layers = {"image": {"files": "{kind}/*.tif", "bands": ["red", "nir"]}, "label": {"column": "kind"}}
    corpus = build(settings(tmp_path, folder, layers))
    assert len(corpus.manifest) == 4
    same_as_files(corpus, folder, "image")
    assert [item.name for item in corpus.modality("label").categories] == ["a", "b"]
    for chip in corpus.manifest:
        code = corpus.read("label", slice(chip.row, chip.row + 1))[0, 0]
        assert "ab"[code] == chip.own["kind"] == chip.own["file_image"].split("/")[0]
        assert chip.acquisition.anchor.asset_id == chip.own["file_image"]
        assert chip.acquisition.date == datetime(2020, 6, 1, tzinfo=UTC)


def test_eurosat_comes_in_with_no_value_changed(tmp_path, shared_data):
    names = [f"B{band:02d}" for band in range(1, 13)]
    layers = {"l1c": {"files": "{class}/*.tif", "bands": [*names, "B8A"], "rgb": ["B04", "B03", "B02"]},
              "land_use": {"column": "class"}}  # fmt: skip
    folder = shared_data / "eurosat" / "ms"
    corpus = build(settings(tmp_path, folder, layers, size_px=64))
    assert len(corpus.manifest) == 100
    assert corpus.modality("l1c").band_names[-1] == "B8A"
    same_as_files(corpus, folder, "l1c")
    assert len(corpus.modality("land_use").categories) == 10
    assert corpus.manifest.resolution_m == 10.0


CLASSES = {"1": "Water", "2": "Trees", "3": "Grass", "4": "Flooded", "5": ["Crops", "#ffbb22"], "6": "Scrub",
           "7": "Built", "8": "Bare", "9": "Snow", "0": "None", "10": "Clouds"}  # fmt: skip
SCENES = {
    "s2_l1c": {"files": "S2L1C/{place}.tif"},
    "land_cover": {"files": "LULC/{place}.tif", "classes": CLASSES},
    "s1_rtc": {"files": "S1RTC/{place}.tif", "bands": ["VV", "VH"], "units": "dB"},
    "elevation": {"files": "DEM/{place}.tif", "names": ["elevation"], "units": "m", "time_rule": "static"},
}


@pytest.mark.parametrize(("size_px", "chips"), [(224, 3), (128, 3), (64, 27)])
def test_scenes_whole_or_cut_on_their_own_grid_off_the_lattice(tmp_path, shared_data, size_px, chips):
    layers = SCENES if size_px == 64 else {"s2_l1c": SCENES["s2_l1c"]}
    time = None if size_px == 64 else "2020-01-01"
    corpus = build(settings(tmp_path, shared_data / "scenes", layers, size_px, time=time))
    assert len(corpus.manifest) == chips
    for name in layers:
        same_as_files(corpus, shared_data / "scenes", name)
    grid = corpus.manifest[0].grid
    assert grid.resolution_m == 10.0 and grid.origin_xy[0] % 10 != 0
    if size_px == 64:
        times = {str(value)[:10] for value in corpus.manifest.column("anchor_time")}
        assert times == {"2023-06-10", "2020-04-08", "2017-10-30"}  # the land cover's tag, not the later radar's
        assert corpus.modality("s1_rtc").band_names == ("VV", "VH")


def test_a_variable_of_netcdf_by_dates_with_a_nodata_that_the_file_does_not_say(tmp_path, shared_data):
    layers = {
        "s2": {"files": "*.nc", "variables": ["S2-L2A-B04", "S2-L2A-B08"], "bands": ["*_202104*"], "nodata": 65535}
    }
    folder = shared_data / "worldcereal"
    corpus = build(settings(tmp_path, folder, layers, size_px=50))
    assert corpus.modality("s2").band_names == ("S2-L2A-B04_20210401", "S2-L2A-B08_20210401")
    block = corpus.read("s2", slice(0, 4))
    with rasterio.open(f'NETCDF:"{folder}/worldcereal_preprocessed_inputs.nc":S2-L2A-B08') as file:
        raw = file.read(6)  # months from November 2020
    for chip in corpus.manifest:
        row, column = (int(part) for part in chip.location.id.rpartition("_r")[2].split("c"))
        np.testing.assert_array_equal(block[chip.row, 1], raw[row : row + 50, column : column + 50])


def test_an_export_in_degrees_is_warped_to_its_utm_zone(tmp_path, shared_data):
    layers = {"radar": {"files": "{place}_{time:%Y-%m-%d}_*.tif", "bands": ["VV", "VH", "elev*"], "dtype": "float32"}}
    chosen = settings(tmp_path, shared_data / "ee_exports", layers, size_px=16, grid="utm", time=None)
    corpus = build(chosen)
    (chip,) = corpus.manifest
    assert chip.grid.crs == "EPSG:32616" and chip.grid.origin_xy[0] % 10 == 0
    assert chip.acquisition.date == datetime(2017, 1, 1, tzinfo=UTC)
    block = corpus.read("radar", slice(0, 1))[0]
    with rasterio.open(shared_data / "ee_exports" / chip.own["file_radar"]) as file:
        raw = file.read([1, 2, 409])
    assert block.shape == (3, 16, 16)
    assert not np.isnan(block[:, 4:12, 4:12]).any()
    # Nearest by default: every pixel is one of the file's.
    assert np.isin(block[:, 4:12, 4:12], raw.astype("float32")).all()


def test_bands_in_files_of_their_own_and_places_by_the_date_in_their_names(tmp_path):
    for number, date in enumerate(("20200105", "20210607")):
        for band, value in (("B08", 8), ("B02", 2)):
            values = np.full((1, 16, 16), value * 100 + number, dtype="uint16")
            raster(tmp_path / "in" / f"T{number}_{date}_{band}.tif", values, (5e5, 5e6 + number * 3e5))
    layers = {"s2": {"files": "{place}_{time:%Y%m%d}_{band}.tif", "bands": ["B02", "B08"]}}
    corpus = build(settings(tmp_path, tmp_path / "in", layers, time=None))
    by_id = {chip.location.id: chip for chip in corpus.manifest}
    assert {name: chip.acquisition.date.year for name, chip in by_id.items()} == {"T0": 2020, "T1": 2021}
    block = corpus.read("s2", slice(0, 2))
    assert block[by_id["T1"].row, :, 0, 0].tolist() == [201, 801]
    assert by_id["T1"].own["file_s2"] == "T1_20210607_B02.tif | T1_20210607_B08.tif"


def test_a_table_says_files_times_splits_and_values(tmp_path, folder):
    rows = ["name,path,when,split,height"]
    for number, split in enumerate(("train", "train", "val", "test")):
        rows.append(f"n{number},{'ab'[number % 2]}/p{number}.tif,2019-0{number + 1}-01,{split},{number / 2}")
    (tmp_path / "places.csv").write_text("\n".join(rows))
    layers = {"image": {"files": "{path}", "bands": ["red", "nir"]}, "height": {"column": "height", "units": "m"}}
    more = {"table": str(tmp_path / "places.csv"), "place": "{name}", "time": "{when}"}
    corpus = build(settings(tmp_path, folder, layers, split=SPLIT | {"buffer_m": 5000.0}, **more))
    same_as_files(corpus, folder, "image")
    told = {chip.location.id: (chip.split, chip.acquisition.date.month, chip.own["height"]) for chip in corpus.manifest}
    assert told == {"n0": ("train", 1, 0.0), "n1": ("train", 2, 0.5), "n2": ("val", 3, 1.0), "n3": ("test", 4, 1.5)}
    heights = corpus.read("height", slice(0, 4))[:, 0]
    assert heights.tolist() == [told[chip.location.id][2] for chip in corpus.manifest]


@pytest.mark.parametrize("form", ["json", "parquet"])
def test_stac_items_say_files_and_times(tmp_path, folder, form):
    items = [
        {"type": "Feature", "id": f"item{number}", "geometry": None,
         "properties": {"datetime": f"2020-0{number + 1}-03T10:00:00Z", "platform": "x"},
         "assets": {"image": {"href": f"./{'ab'[number % 2]}/p{number}.tif"}}, "links": []}
        for number in range(4)
    ]  # fmt: skip
    path = folder / f"items.{form}"
    if form == "json":
        path.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    else:
        flat = [{"id": item["id"], "assets": item["assets"], "datetime": datetime.fromisoformat(
            item["properties"]["datetime"]), "platform": "x"} for item in items]  # fmt: skip
        pq.write_table(pa.Table.from_pylist(flat), path)
    layers = {"image": {"assets": ["image"], "bands": ["red", "nir"]}}
    corpus = build(settings(tmp_path, folder, layers, items=str(path), time=None))
    same_as_files(corpus, folder, "image")
    assert {chip.location.id: chip.acquisition.date.month for chip in corpus.manifest}["item2"] == 3
    assert corpus.manifest[0].own["platform"] == "x"


def items(folder: Path, *dates: str | None, ids: str = "0123", **more: str) -> Path:
    """STAC items of the files in `folder`, with these dates."""
    features = [
        {"type": "Feature", "id": f"item{ids[number]}", "properties": {"datetime": date, **more},
         "assets": {"image": {"href": f"./{'ab'[number % 2]}/p{number}.tif"}}}
        for number, date in enumerate(dates)
    ]  # fmt: skip
    (folder / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return folder / "items.json"


@pytest.mark.parametrize(
    ("dates", "ids", "sentence"),
    [
        (("2020-01-01", None), "01", "the time of place 'item1' is not known: .*, the item its datetime"),
        (("2020-01-01", "soon"), "01", "the time of place 'item1' is not known: .*, the item its datetime"),
        (("2020-01-01", "2020-01-01"), "00", "items.json has two places 'item0'; leave one of the items out"),
    ],
)
def test_advice_on_items_is_what_helps_with_items(tmp_path, folder, dates, ids, sentence):
    more = {"items": str(items(folder, *dates, ids=ids)), "time": None}
    chosen = settings(tmp_path, folder, {"image": {"assets": ["image"]}}, **more)
    with pytest.raises(Fatal, match=sentence) as refused:
        stages.sample(chosen, None, Silent())
    assert "pattern" not in str(refused.value) and "columns" not in str(refused.value)


def test_a_template_of_the_time_is_filled_with_what_patterns_and_items_say(tmp_path, folder):
    (folder / "a" / "p0.tif").rename(folder / "05032021.tif")
    layers = {"image": {"files": "{day}.tif"}}
    corpus = build(settings(tmp_path / "one", folder, layers, time="{day:%d%m%Y}"))
    assert corpus.manifest[0].acquisition.date == datetime(2021, 3, 5, tzinfo=UTC)
    (folder / "05032021.tif").rename(folder / "a" / "p0.tif")
    listed = str(items(folder, "2020-01-01", season="2019-07-01"))
    corpus = build(settings(tmp_path / "two", folder, {"image": {"assets": ["image"]}}, items=listed, time="{season}"))
    assert corpus.manifest[0].acquisition.date == datetime(2019, 7, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("time", "sentence"),
    [
        ("{daay}-01-01", "files.time = '{daay}-01-01' needs 'daay', and the places say kind; correct it"),
        ("{kind}-01-01", "'a-01-01' in what is said of place 'p0' is no time"),
    ],
)
def test_a_template_of_the_time_that_cannot_be_filled_is_refused(tmp_path, folder, time, sentence):
    chosen = settings(tmp_path, folder, {"image": {"files": "{kind}/*.tif"}}, time=time)
    with pytest.raises(Fatal, match=sentence):
        stages.sample(chosen, None, Silent())


def test_files_that_came_later_are_not_looked_for_and_merge(tmp_path, folder):
    layers = {"image": IMAGE | {"range": [0, 9000]}}
    chosen = settings(tmp_path, folder, layers)
    first = build(chosen)
    listed = (first.folder / "locations.parquet").read_bytes()
    raster(tmp_path / "later" / "c" / "p4.tif", noise(2), (500_000.0, 5e6 + 4 * 3e5))
    raster(folder / "c" / "p4.tif", noise(2), (500_000.0, 5e6 + 4 * 3e5))
    said: list[str] = []
    told = Silent()
    told.say = said.append  # type: ignore[method-assign]
    stages.sample(chosen, None, told)
    (sentence,) = said
    assert "keeps to the files that it was made of; describe" in sentence and "`geocorpus merge` both" in sentence
    second = build(settings(tmp_path / "second", tmp_path / "later", layers))
    merging.merge([first.folder, second.folder], tmp_path / "both", Merger(), 0.0, False, Silent())
    merged = Corpus.open(tmp_path / "both")
    assert {chip.location.id for chip in merged.manifest} == {f"p{number}" for number in range(5)}
    for key in ("sampling.locations=7", "layers.image.units=m"):
        with pytest.raises(Fatal, match="put it back: a corpus from files does not grow, so describe other files"):
            stages.check(load(str(first.folder), [key]), "sample")
    assert (first.folder / "locations.parquet").read_bytes() == listed


def test_scale_and_nodata_of_the_files_go_into_the_layer(tmp_path):
    values = noise(1, dtype="int16")
    values[0, 0, 0] = -999
    path = raster(tmp_path / "in" / "a.tif", values, nodata=-999)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets, file.units = (0.01,), (5.0,), ("K",)
    corpus = build(settings(tmp_path, tmp_path / "in", {"heat": {"files": "*.tif"}}))
    layer = corpus.modality("heat")
    assert (layer.scale, layer.offset, layer.nodata, layer.dtype, layer.bands[0].units) == (
        0.01,
        5.0,
        -999,
        "int16",
        "K",
    )
    np.testing.assert_array_equal(corpus.read("heat", slice(0, 1))[0], values)


def test_the_classes_of_a_file_with_a_colour_table_are_the_layers(tmp_path):
    path = raster(tmp_path / "in" / "a.tif", noise(1, dtype="uint8", top=3) + 1, tags={"class_1": "Wood"})
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {1: (0, 100, 0), 2: (255, 0, 0), 3: (0, 0, 255)})
        file.update_tags(class_2="Rock", class_3="Sea")
    corpus = build(settings(tmp_path, tmp_path / "in", {"cover": {"files": "*.tif"}}))
    classes = [(item.code, item.name, item.colour) for item in corpus.modality("cover").categories]
    assert classes == [(1, "Wood", "#006400"), (2, "Rock", "#ff0000"), (3, "Sea", "#0000ff")]


def test_a_layer_without_data_in_any_chip_is_said_at_the_end(tmp_path):
    raster(tmp_path / "in" / "a.tif", np.full((1, 16, 16), 7, np.uint8))
    chosen = settings(tmp_path, tmp_path / "in", {"cover": {"files": "*.tif", "classes": {"1": "water"}}})
    build(chosen)
    said: list[str] = []
    told = Silent()
    told.say = said.append  # type: ignore[method-assign]
    stages.finalize(chosen, told)
    assert "look at this: cover has no data in any chip, mostly because: values 7 are none of its classes." in said


def test_a_photograph_that_uses_every_value_keeps_every_value(tmp_path):
    values = np.arange(256, dtype="uint8").reshape(1, 16, 16).repeat(4, axis=0)
    raster(tmp_path / "in" / "a.tif", values)
    corpus = build(settings(tmp_path, tmp_path / "in", {"photo": {"files": "*.tif"}}))
    np.testing.assert_array_equal(corpus.read("photo", slice(0, 1))[0], values)


def test_chips_near_to_another_split_are_left_out_and_listed(tmp_path):
    for number in range(40):
        raster(tmp_path / "in" / f"p{number:02d}.tif", noise(1), (5e5 + number * 3000, 5e6))
    chosen = settings(tmp_path, tmp_path / "in", {"image": {"files": "*.tif"}},
                      split={"train": 0.5, "val": 0.25, "test": 0.25, "cell_deg": 0.1, "buffer_m": 4000.0})  # fmt: skip
    corpus = build(chosen)
    rejected = pq.read_table(chosen.folder / "rejected.parquet").column("id").to_pylist()
    kept = [chip.location.id for chip in corpus.manifest]
    assert sorted(rejected + kept) == [f"p{number:02d}" for number in range(40)]
    assert rejected and len(rejected) < 20
    file_source.rows(chosen, Silent())
    again = pq.read_table(chosen.folder / "rejected.parquet").column("id").to_pylist()
    assert again == rejected, "a stage that is run again rejects nothing twice"
    x = {chip.location.id: chip.grid.origin_xy[0] for chip in corpus.manifest}
    split = {chip.location.id: chip.split for chip in corpus.manifest}
    apart = [abs(x[a] - x[b]) - 160 for a in x for b in x if split[a] != split[b]]
    assert len(set(split.values())) > 1 and min(apart) >= 4000


def test_a_place_without_a_file_of_a_layer_lacks_it_and_one_without_the_first_is_rejected(tmp_path, folder):
    raster(tmp_path / "in" / "mask" / "p1.tif", noise(1, dtype="int16"), (500_000.0, 5e6 + 3e5))
    raster(tmp_path / "in" / "mask" / "p9.tif", noise(1, dtype="int16"))
    layers = {"image": {"files": "[ab]/{place}.tif".replace("[ab]", "?")}, "mask": {"files": "mask/{place}.tif"}}
    chosen = settings(tmp_path, folder, layers)
    corpus = build(chosen)
    lacking = {row: reason for entry in corpus.entries("mask") for row, reason in entry.missing.items()}
    assert {corpus.manifest[row].location.id for row in lacking} == {"p0", "p2", "p3"}
    assert set(lacking.values()) == {"the place has no file of this layer"}
    table = pq.read_table(chosen.folder / "rejected.parquet").to_pylist()
    assert [(one["id"], one["reason"]) for one in table] == [("p9", "it has no file of layer image")]


MOON = 'PROJCS["Moon",GEOGCS["Moon 2000",DATUM["D_Moon_2000",SPHEROID["Moon_2000_IAU_IAG",1737400,0]],' \
       'PRIMEM["Greenwich",0],UNIT["Decimal_Degree",0.0174532925199433]],PROJECTION["Equirectangular"],' \
       'PARAMETER["central_meridian",0],UNIT["Meter",1]]'  # fmt: skip


FAR_OFF = {"at": (5e8, 5e6), "crs": "EPSG:32631"}
IN_DEGREES = {"crs": "EPSG:4326", "side": (1e-4, 1e-4)}
DAMAGES = {
    "complex": lambda folder: raster(folder / "a" / "p0.tif", noise(2).astype("complex64"), dtype="complex_int16"),
    "no extent": lambda folder: raster(folder / "a" / "p0.tif", noise(2), side=(1e-300, 1e-300)),
    "far off": lambda folder: raster(folder / "a" / "p0.tif", noise(2), **FAR_OFF),
    "geocentric": lambda folder: raster(folder / "a" / "p0.tif", noise(2), crs="EPSG:4978"),
    "without a CRS": lambda folder: raster(folder / "a" / "p0.tif", noise(2), crs=None),
    "of the Moon": lambda folder: raster(folder / "a" / "p0.tif", noise(2), crs=MOON),
    "three bands": lambda folder: raster(folder / "a" / "p0.tif", noise(3)),
    "truncated": lambda folder: (path := folder / "a" / "p0.tif").write_bytes(path.read_bytes()[:700]),
    "no raster": lambda folder: (folder / "a" / "p0.tif").write_text("not a raster"),
    "twice": lambda folder: raster(folder / "b" / "p0.tif", noise(2)),
    "oblong pixels": lambda folder: raster(folder / "a" / "p0.tif", noise(2), side=(10.0, 12.0)),
    "degrees": lambda folder: raster(folder / "a" / "p0.tif", noise(2), (8.0, 50.0), "EPSG:4326", (1e-4, 1e-4)),
    "small": lambda folder: raster(folder / "a" / "p0.tif", noise(2, 8)),
    "other pixels": lambda folder: raster(folder / "a" / "p0.tif", noise(2), side=(20.0, 20.0)),
    "other dtype": lambda folder: raster(folder / "b" / "p3.tif", noise(2, dtype="float32")),
}


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("complex", r"band 1 of .*p0.tif has complex numbers"),
        ("no extent", r"p0.tif has pixels without an extent"),
        ("far off", r"place 'p0' has a chip at no place on Earth"),
        ("geocentric", r"p0.tif has a CRS without a place on Earth"),
        ("without a CRS", r"p0.tif has no CRS"),
        ("of the Moon", r"p0.tif is not of Earth"),
        ("three bands", r"p\d.tif has \d bands to take, and layer 'image' names 2"),
        ("truncated", r"p0.tif cannot be read as a raster"),
        ("no raster", r"p0.tif cannot be read as a raster"),
        ("twice", r"place 'p0' has two files for layer 'image': a/p0.tif and b/p0.tif"),
        ("oblong pixels", r"p0.tif has pixels of 10 x 12 m, no squares"),
        ("degrees", r'p0.tif has no pixels in metres \(WGS 84\); set files.grid = "utm"'),
        ("small", r"p0.tif is 8 x 8 px, less than corpus.size_px = 16; set corpus.size_px = 8"),
        ("other pixels", r"the files have pixels of 10 m and of 20 m"),
        ("other dtype", r"p3.tif is float32 with scale and offset"),
    ],
)
def test_what_does_not_fit_is_one_sentence_and_leaves_nothing(tmp_path, folder, what, sentence):
    DAMAGES[what](folder)
    chosen = settings(tmp_path, folder, {"image": IMAGE})
    with pytest.raises(Fatal, match=sentence) as refused:
        build(chosen)
    assert "\n" not in str(refused.value)
    assert not chosen.folder.exists()


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        ({"files": "*.tiff"}, "no file in .* fits '\\*.tiff' of layer 'image'; correct the pattern"),
        ({"files": "*/*.tif", "bands": [1, 3]}, "has no band 3 for layer 'image'; it has 1, 2"),
        ({"files": "*/*.tif", "bands": [1, 1]}, "takes a band of .* twice"),
        ({"files": "*/*.tif", "units": ["m"]}, "has 2 bands and 1 units"),
        ({"files": "*/*.tif", "dtype": "int64"}, "would be of int64, which a corpus does not hold"),
        ({"files": "*/*.tif", "variables": ["x"]}, "is neither netCDF nor HDF5"),
        ({"files": "*/*_{band}.tif"}, "no file in"),
    ],
)
def test_a_description_that_does_not_fit_is_one_sentence(tmp_path, folder, layer, sentence):
    chosen = settings(tmp_path, folder, {"image": layer})
    with pytest.raises(Fatal, match=sentence):
        build(chosen)
    assert not chosen.folder.exists()


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (("p.tif", "p_r0c0.tif"), "places 'p' and 'p_r0c0' both have a chip 'p_r0c0'; give one of them another name"),
        (("a/b.tif", "a_b.tif"), "places 'a/b' and 'a_b' both have a chip 'a_b'"),
    ],
)
def test_places_whose_chips_would_have_one_id_are_both_named(tmp_path, names, sentence):
    for name, size_px in zip(names, (32, 16) if "p.tif" in names else (16, 16), strict=True):
        raster(tmp_path / "in" / name, noise(1, size_px))
    (tmp_path / "places.csv").write_text("name\n" + "\n".join(name.removesuffix(".tif") for name in names))
    more = {"table": str(tmp_path / "places.csv"), "place": "{name}"}
    chosen = settings(tmp_path, tmp_path / "in", {"image": {"files": "{name}.tif"}}, **more)
    with pytest.raises(Fatal, match=sentence):
        stages.sample(chosen, None, Silent())
    assert not chosen.folder.exists()


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"at": (20.0, 95.0), **IN_DEGREES}, "p0.tif has its middle at no place on Earth"),
        ({"side": (1e-300, 1e-300)}, "p0.tif has pixels without an extent"),
    ],
)
def test_a_file_to_be_warped_that_is_nowhere_is_refused_before_anything_is_written(tmp_path, folder, more, sentence):
    raster(folder / "a" / "p0.tif", noise(2), **more)
    chosen = settings(tmp_path, folder, {"image": IMAGE}, grid="utm")
    with pytest.raises(Fatal, match=sentence):
        build(chosen)
    assert not chosen.folder.exists()


def test_layers_of_one_place_on_other_pixels_are_refused_unless_they_are_warped(tmp_path, folder):
    raster(folder / "coarse" / "p0.tif", noise(1, 8), (500_000.0, 5e6), side=(20.0, 20.0))
    layers = {"image": {"files": "?/{place}.tif"}, "coarse": {"files": "coarse/{place}.tif"}}
    with pytest.raises(Fatal, match="coarse/p0.tif has other pixels than the first layer at its place"):
        build(settings(tmp_path, folder, layers))
    layers["coarse"]["resampling"] = "nearest"
    corpus = build(settings(tmp_path, folder, layers))
    (chip,) = [chip for chip in corpus.manifest if chip.location.id == "p0"]
    twice = as_read(folder / "coarse" / "p0.tif", chip.grid.origin_xy, 8).repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_array_equal(corpus.read("coarse", slice(chip.row, chip.row + 1))[0], twice)


def test_pixels_that_drift_from_the_first_layers_are_refused_before_anything_is_written(tmp_path):
    raster(tmp_path / "in" / "image" / "p0.tif", noise(1, 1024))
    raster(tmp_path / "in" / "drifting" / "p0.tif", noise(1, 1024), side=(10.004, 10.004))
    layers = {name: {"files": f"{name}/{{place}}.tif"} for name in ("image", "drifting")}
    chosen = settings(tmp_path, tmp_path / "in", layers, size_px=64)
    with pytest.raises(Fatal, match="drifting/p0.tif has other pixels than the first layer at its place"):
        stages.sample(chosen, None, Silent())
    assert not chosen.folder.exists()


def test_data_that_would_be_taken_for_nodata_stop_the_export_and_no_shard_is_written(tmp_path):
    values = noise(1)
    values[0, 3, 3] = 65535
    raster(tmp_path / "in" / "a.tif", values)
    chosen = settings(tmp_path, tmp_path / "in", {"image": {"files": "*.tif"}})
    with pytest.raises(Fatal, match=r"a.tif has 65535 as data, which layer 'image' \(uint16, nodata 65535\)"):
        build(chosen)
    assert not list(chosen.folder.glob("ledger/*/*"))


def test_a_file_cut_short_behind_its_header_stops_the_export_and_no_shard_is_written(tmp_path, folder):
    path = raster(folder / "a" / "p0.tif", noise(2, 64), (500_000.0, 5e6))
    path.write_bytes(path.read_bytes()[:6000])
    chosen = settings(tmp_path, folder, {"image": IMAGE})
    with pytest.raises(Fatal, match="p0.tif cannot be read as a raster"):
        build(chosen)
    assert not list(chosen.folder.glob("ledger/*/*"))


def test_a_dry_run_says_what_the_files_give_and_writes_nothing(tmp_path, folder, capsys):
    chosen = settings(
        tmp_path, folder, {"image": IMAGE, "kind": {"files": "a/p0.tif", "resampling": "nearest"}}, size_px=8
    )
    run.print_allocation(chosen, as_json=False)
    said = capsys.readouterr().out
    assert "16 of 8 px" in said and "Nothing was written." in said and "image            uint16, 2 bands" in said
    assert not chosen.folder.exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"layers": {}}, "needs a .layers.NAME."),
        ({"layers": {"x": {"files": "a", "assets": ["b"]}}}, "it needs one of files, assets and column"),
        ({"layers": {"x": {"file": "a"}}}, r"layers.x.file\b.*layers.x.files"),
        ({"files": {"time": "soon"}}, "it is no date"),
        ({"files": {"time": "9999-12-31T23:59:59-05:00"}}, "it is no date"),
        ({"layers": {"x": {"files": "a", "classes": {"²": "b"}}}}, "code '²' is no whole number"),
        ({"layers": {"x": {"files": "a", "classes": {"1": "b", "01": "c"}}}}, "two of its codes are the same number"),
        ({"source": {"kind": "earth_engine"}}, "layers describe files"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path, change, sentence):
    data = {"source": {"kind": "files"}, "layers": {"x": {"files": "*.tif"}}} | change
    with pytest.raises(Fatal, match=sentence):
        with_overrides(data, ())


def test_paths_are_relative_to_the_description_and_the_folder_goes_on_from_its_own_settings(tmp_path, folder):
    text = '[corpus]\nsize_px = 16\n[source]\nkind = "files"\n[files]\ntime = 2020-01-01\n'
    text += '[layers.image]\nfiles = "*/*.tif"\n'
    (folder / "files.toml").write_text(text)
    chosen = load(str(folder / "files.toml"), [f"corpus.folder={tmp_path / 'corpus'}"])
    assert chosen.files.folder == folder
    stages.sample(chosen, None, Silent())
    again = load(str(tmp_path / "corpus"))
    assert again.files == chosen.files and again.layers == chosen.layers
    stages.check(again, "export")
    changed = load(str(tmp_path / "corpus"), ["layers.image.nodata=7"])
    with pytest.raises(Fatal, match="layers.image"):
        stages.check(changed, "sample")


def test_earth_engines_layers_are_refused_and_those_of_the_chip_itself_are_not(tmp_path, folder):
    chosen = settings(tmp_path, folder, {"image": IMAGE})
    more = chosen.corpus.model_copy(update={"modalities": ("lat", "month")})
    corpus = build(chosen.model_copy(update={"corpus": more}))
    assert {"image", "lat", "month"} <= set(corpus.modalities)
    asking = chosen.corpus.model_copy(update={"modalities": ("era5",)})
    with pytest.raises(Fatal, match="comes from Earth Engine, and this corpus from files"):
        stages.check(chosen.model_copy(update={"corpus": asking}), "export")


@pytest.mark.slow
def test_import_of_a_folder_ends_in_a_corpus_that_trains(tmp_path, shared_data):
    pytest.importorskip("torch")
    toml = tmp_path / "eurosat.toml"
    toml.write_text(
        f'[corpus]\nsize_px = 64\n[source]\nkind = "files"\n[files]\nfolder = "{shared_data}/eurosat/ms"\n'
        'time = 2018-01-01\n[layers.l1c]\nfiles = "{class}/*_1.tif"\n[layers.land_use]\ncolumn = "class"\n'
        "[split]\ntrain = 0.6\nval = 0.2\ntest = 0.2\n"
    )
    done = geocorpus("import", str(toml), str(tmp_path / "corpus"))
    assert done.returncode == 0, done.stderr
    small = ("encoder=zepto", "image_px=32", "patch_px=8", "decoder_width=16", "steps=1", "batch_size=4", "threads=1")
    chosen = load(str(tmp_path / "corpus"), ['pretrain.inputs=["l1c"]', *(f"pretrain.{each}" for each in small)])
    trained = stages.pretrain(chosen, Silent())
    assert isinstance(trained, Closing) and set(trained.facts["first_losses"]) == {"l1c", "land_use"}
