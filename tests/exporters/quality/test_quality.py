"""Findings of a shard, what is flagged of a corpus, and a layer that is served a pixel aside."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import ee
import numpy as np
import pytest

from exporters import catalog
from exporters.earth_engine.batch_size import AdaptiveBatchSize
from exporters.earth_engine.client import Connection, connect
from exporters.pull.export import export
from exporters.pull.pull import Puller
from exporters.quality.inspection import count_outside, inspect, reference_of, varies_everywhere
from exporters.quality.quality import Quality
from exporters.report.facts import coverage
from exporters.sources import Pixels
from pipeline.corpus import Corpus
from pipeline.corpus_folder import MANIFEST
from pipeline.grid import to_lonlat
from pipeline.manifest import Manifest
from pipeline.modality import Band, Category, Display, Modality
from pipeline.progress import Silent
from sandbox.raster.stored import StoredImage
from sandbox.service.server import Sandbox
from tests.exporters import tiny_earth
from tests.exporters.chips import chip, pixel_centres_xy
from tests.exporters.conftest import IMPATIENT
from tests.exporters.quality.test_registration import texture
from tests.exporters.tiny_earth import FieldBand, day
from tests.pipeline.chips import make_manifest

SIZE_PX = 64
SCENE = Modality(
    "scene", "Scene", (Band("r"), Band("g"), Band("b")), "uint16", 0, resampling="bilinear", scale=1e-4,
    valid_range=(1, 20000), time_rule="the anchor scene", patch_normalised=True,
    display=Display("rgb", ("r", "g", "b")),
)  # fmt: skip
RADAR = replace(SCENE, name="radar", bands=(Band("v"),), patch_normalised=False, display=Display("grey", ("v",)))
CANOPY = Modality("canopy", "Canopy", (Band("h"),), "uint8", 255, resampling="bilinear", valid_range=(0, 64))
COVER = Modality("cover", "Cover", (Band("c"),), "uint8", 255, categories=(Category(1, "a"), Category(2, "b")))
CLIMATE = Modality("climate", "Climate", (Band("t"),), "float32", float("nan"), extent="image")
LAYERS = (SCENE, RADAR, CANOPY, COVER, CLIMATE)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    make_manifest(tmp_path, 20, SIZE_PX)
    return Corpus.create(tmp_path, LAYERS, shard_rows=20)


def blocks_of(corpus: Corpus, radar_shift: tuple[int, int] = (0, 0)) -> dict[str, np.ndarray]:
    """Every layer of a place shows the same texture; radar lies aside by `radar_shift`."""
    here = [texture(row)[64:128, 64:128] for row in corpus.shards[0].rows]
    dy, dx = radar_shift
    aside = [texture(row)[64 - dy : 128 - dy, 64 - dx : 128 - dx] for row in corpus.shards[0].rows]
    scene = np.stack([[100 + 3000 * item, 4000 - 3000 * item, 200 + 900 * item] for item in here])
    return {
        "scene": scene.astype(np.uint16),
        "radar": np.stack([[500 + 8000 * (1 - item) ** 2] for item in aside]).astype(np.uint16),
        "canopy": np.stack([[40 * item] for item in here]).astype(np.uint8),
        "cover": np.stack([[np.where(item > 0.5, 1, 2)] for item in here]).astype(np.uint8),
        "climate": np.arange(20, dtype=np.float32)[:, None],
    }


def added_up(corpus: Corpus, blocks: dict[str, np.ndarray], missing: dict | None = None) -> dict[str, Quality]:
    nothing = {name: {} for name in blocks} | (missing or {})
    result = inspect(corpus, corpus.shards[0], blocks, nothing)
    for name, block in blocks.items():
        corpus.write(corpus.shards[0], name, block, nothing[name], result[name])
    return {quality.modality.name: quality for quality in (layer.quality for layer in coverage(corpus))}


def test_a_corpus_in_order_has_no_flag(corpus: Corpus) -> None:
    result = added_up(corpus, blocks_of(corpus))
    assert [quality.flags() for quality in result.values()] == [[]] * len(LAYERS)
    for name in ("radar", "canopy", "cover"):
        assert result[name].reference == "scene" and result[name].compared == 20
        in_place = result[name].in_place
        assert in_place is not None and in_place >= 0.9 and result[name].confident >= 10
    assert result["climate"].compared == result["scene"].compared == 0


@pytest.mark.parametrize(("shift", "words"), [((2, -3), "2 px south and 3 px west"), ((-1, 0), "1 px north of scene")])
def test_a_layer_that_lies_aside_is_told_with_its_direction(corpus: Corpus, shift: tuple[int, int], words: str) -> None:
    result = added_up(corpus, blocks_of(corpus, shift))
    assert result["radar"].shift == shift
    assert len(result["radar"].flags()) == 1 and words in result["radar"].flags()[0]
    assert not result["canopy"].flags() and not result["cover"].flags()


def test_a_layer_added_later_is_compared_with_the_stored_reference(corpus: Corpus) -> None:
    blocks = blocks_of(corpus, (4, 4))
    added_up(corpus, {name: blocks[name] for name in ("scene", "cover")})
    assert added_up(corpus, {"radar": blocks["radar"]})["radar"].shift == (4, 4)


def test_without_the_reference_nothing_is_compared(corpus: Corpus) -> None:
    result = added_up(corpus, {"radar": blocks_of(corpus)["radar"]})
    assert result["radar"].compared == 0 and result["radar"].in_place is None and result["radar"].flags() == []


def test_a_few_stray_peaks_are_no_shift() -> None:
    quality = Quality(RADAR)
    quality.shifts.update({(5, 5): 3, (-7, 2): 2, (0, 9): 4, (1, -8): 3})
    assert quality.shift is None, "they do not agree"
    quality = Quality(RADAR)
    quality.shifts.update({(1, 0): 6, (0, 0): 5})
    assert quality.shift is None, "half a pixel is seen as none or as one"
    quality = Quality(RADAR)
    quality.shifts.update({(1, 0): 7})
    assert quality.shift is None, "too few"


def test_half_a_pixel_of_a_coarser_grid_is_no_shift() -> None:
    quality = Quality(RADAR)
    quality.shifts.update({(1, 0): 9, (0, 1): 7, (0, 0): 5, (1, 1): 4})
    assert quality.shift is None
    quality.shifts.update({(1, 0): 40})
    assert quality.shift == (1, 0)


def test_values_that_cannot_be_are_counted(corpus: Corpus) -> None:
    blocks = blocks_of(corpus)
    blocks["radar"][3] = 4711
    blocks["scene"][4, 0] = 300
    blocks["canopy"][5] = 0
    blocks["cover"][6] = 1
    blocks["canopy"][7, 0, :10] = 99
    blocks["scene"][8, :, :32] = 0
    blocks["cover"][9] = 255
    missing = {"cover": {corpus.shards[0].rows[9]: "no scene"}}
    result = added_up(corpus, blocks, missing)
    assert (result["radar"].constant, result["radar"].constant_rows) == (1, [3])
    assert "one value all over a chip" in result["radar"].flags()[0] and "row 3" in result["radar"].flags()[0]
    assert result["scene"].constant == 0, "one band may be"
    assert result["canopy"].constant == result["cover"].constant == 0, "bare ground and water are"
    assert result["canopy"].outside == 640 and result["canopy"].flags() == []
    assert result["scene"].nodata == [19, 0, 0, 0, 0, 1, 0, 0], "half of a chip is at most 0.5"
    assert result["cover"].chips == 19 and result["cover"].nodata[0] == 19


def test_many_values_beyond_the_range_are_flagged(corpus: Corpus) -> None:
    blocks = blocks_of(corpus)
    blocks["canopy"] += 45
    result = added_up(corpus, blocks)["canopy"]
    beyond = float((blocks["canopy"] > 64).mean())
    assert beyond > 0.01 and f"{beyond:.1%} of its values outside of 0 to 64" in result.flags()[0]


def test_each_band_is_held_to_its_own_range() -> None:
    bands = (Band("height"), Band("slope", valid_range=(0, 90)), Band("share"))
    layer = Modality("relief", "Relief", bands, "float32", -9999, valid_range=(-500, 9000))
    chip = np.array([[[100, -9999], [9001, -600]], [[91, 90], [0, -9999]], [[5, 5], [95, -1]]], "float32")
    assert count_outside(layer, chip, layer.valid(chip)) == 3
    assert count_outside(layer.without_ranges_of_bands(), chip, layer.valid(chip)) == 2
    quality = Quality(layer, values=100, outside=3)
    assert quality.flags() == ["relief has 3.0% of its values outside of -500 to 9000 (height, share), 0 to 90 (slope)"]
    alone = replace(layer, valid_range=None)
    assert count_outside(alone, chip, alone.valid(chip)) == 1
    assert Quality(alone, values=100, outside=2).flags()[0].endswith("outside of 0 to 90 (slope)")


def test_findings_depend_on_the_values_alone(corpus: Corpus) -> None:
    blocks = blocks_of(corpus)
    nothing: dict = {name: {} for name in blocks}
    whole = inspect(corpus, corpus.shards[0], blocks, nothing)
    turned = dict(reversed(blocks.items()))
    assert inspect(corpus, corpus.shards[0], turned, nothing) == whole


def test_the_reference_and_what_varies_follow_from_the_specification() -> None:
    composite = replace(SCENE, name="a_composite", patch_normalised=False)
    assert reference_of([composite, RADAR, SCENE]) is SCENE
    assert reference_of([composite, RADAR]) is composite
    assert reference_of([RADAR, COVER, CLIMATE]) is None
    assert [varies_everywhere(item) for item in LAYERS] == [True, True, False, False, False]
    built_in = {item.name for item in catalog.modalities() if varies_everywhere(item)}
    assert built_in == {"sentinel1", "sentinel2"}
    reference = reference_of(catalog.modalities())
    assert reference is not None and reference.name == "sentinel2"


ASIDE = """
import ee
from exporters.expressions import static
from pipeline.modality import Band, Modality

aligned, aside = (
    Modality(name, name, (Band("b1"),), "uint16", 0, resampling="bilinear", assets=(f"users/lab/{name}",),
             source=static(lambda name=name: ee.Image(f"users/lab/{name}")))
    for name in ("aligned", "aside")
)
"""


def textured(band: str, dy: int = 0, dx: int = 0, scale: float = 5000.0) -> FieldBand:
    """A band of 10 m over the tile whose content lies `dy` pixels south and `dx` east of where it should be."""
    field = texture(11, 1024)
    return FieldBand(
        band, np.dtype(np.uint16), 10.0,
        lambda column, row: 500 + scale * field[(row - dy) % 1024, (column - dx) % 1024],
    )  # fmt: skip


def textured_earth() -> tiny_earth.TinyEarth:
    scene = tiny_earth.optical("l1c", day(2018, 3, 11))
    names = [name for name in tiny_earth.NATIVE_M if name[1:].isdigit() or name == "B8A"]
    image = StoredImage(
        scene.asset_id, tuple(textured(name) for name in names), scene.properties, tiny_earth.outline()
    )  # fmt: skip
    others = [
        StoredImage("users/lab/aligned", (textured("b1", scale=-300.0),), {"system:index": "aligned"}),
        StoredImage("users/lab/aside", (textured("b1", 1, -2, scale=2000.0),), {"system:index": "aside"}),
    ]
    return tiny_earth.TinyEarth([image, *others])


def test_a_modality_file_whose_image_is_served_aside_is_found_out(tmp_path: Path) -> None:
    (tmp_path / "lab.py").write_text(ASIDE)
    chips = [chip(day(2018, 3, 11), "l1c", place=index) for index in range(12)]
    sized = [replace(item, grid=replace(item.grid, shape_yx=(SIZE_PX, SIZE_PX))) for item in chips]
    manifest = Manifest.freeze(sized, 0)
    manifest.write(tmp_path / MANIFEST)
    layers = catalog.bound(catalog.modalities(["sentinel2", "aligned", "aside"], [tmp_path / "lab.py"]), manifest)
    corpus = Corpus.create(tmp_path, layers, 8)
    with Sandbox(catalog=textured_earth()) as sandbox:
        engine = connect(Connection("demo-project", url=sandbox.url, patience=IMPATIENT))
        export(engine, corpus, layers, tmp_path / "spool", Silent())
    result = {quality.modality.name: quality for quality in (layer.quality for layer in coverage(corpus))}
    assert result["aside"].shift == (1, -2)
    assert result["aside"].flags() == ["aside lies 1 px south and 2 px west of sentinel2, told by 12 of 12 chips"]
    assert result["aligned"].in_place == 1.0 and result["aligned"].flags() == []


def test_layers_of_one_chip_share_its_grid_in_whatever_requests_they_come(engine, sandbox) -> None:
    """Each pixel is asked where it is: in one request for all bands, and in one for each."""
    place = chip(day(2019, 6, 2))
    layers = [
        Modality(name, name, (Band("longitude"), Band("latitude")), "float64", float("nan"),
                 source=Pixels(lambda _: ee.Image.pixelLonLat()))
        for name in ("one", "other")
    ]  # fmt: skip
    x, y = pixel_centres_xy(place.grid)
    expected = to_lonlat(place.grid.crs).transform(*np.meshgrid(x, y))
    puller = Puller(engine)
    for requests in (1, 4):
        before = sandbox.counters()["total"]
        pulled = puller.pixels(place, layers)
        for name in ("one", "other"):
            np.testing.assert_allclose(pulled.values[name], expected, atol=1e-9)
        assert sandbox.counters()["total"] - before == requests
        puller.bands = AdaptiveBatchSize(1)
