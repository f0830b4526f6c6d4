"""Findings of a shard, what is flagged of a corpus, and a layer that is served a pixel aside."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import ee
import numpy as np
import pytest

from exporters import catalog
from exporters.earth_engine.client import Connection, connect
from exporters.pull.export import export
from exporters.pull.pull import Puller
from exporters.quality.inspection import inspect, reference_of, varies_everywhere
from exporters.quality.quality import Quality, quality_of
from exporters.sources import Pixels
from pipeline.corpus import MANIFEST, Corpus
from pipeline.grid import to_lonlat
from pipeline.manifest import Manifest
from pipeline.modality import Band, Category, Display, Modality
from pipeline.progress import Silent
from sandbox.raster.stored import StoredImage
from sandbox.service.server import Sandbox
from tests.exporters import tiny_earth
from tests.exporters.chips import chip
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
    scene = np.stack([[100 + 3000 * one, 4000 - 3000 * one, 200 + 900 * one] for one in here])
    return {
        "scene": scene.astype(np.uint16),
        "radar": np.stack([[500 + 8000 * (1 - one) ** 2] for one in aside]).astype(np.uint16),
        "canopy": np.stack([[40 * one] for one in here]).astype(np.uint8),
        "cover": np.stack([[np.where(one > 0.5, 1, 2)] for one in here]).astype(np.uint8),
        "climate": np.arange(20, dtype=np.float32)[:, None],
    }


def added_up(corpus: Corpus, blocks: dict[str, np.ndarray], missing: dict | None = None) -> dict[str, Quality]:
    nothing = {name: {} for name in blocks} | (missing or {})
    found = inspect(corpus, corpus.shards[0], blocks, nothing)
    for name, block in blocks.items():
        corpus.write(corpus.shards[0], name, block, nothing[name], found[name])
    return {quality.modality.name: quality for quality in quality_of(corpus)}


def test_a_corpus_in_order_has_no_flag(corpus: Corpus) -> None:
    found = added_up(corpus, blocks_of(corpus))
    assert [quality.flags() for quality in found.values()] == [[]] * len(LAYERS)
    for name in ("radar", "canopy", "cover"):
        assert found[name].reference == "scene" and found[name].compared == 20
        in_place = found[name].in_place
        assert in_place is not None and in_place >= 0.9 and found[name].confident >= 10
    assert found["climate"].compared == found["scene"].compared == 0


@pytest.mark.parametrize(("shift", "words"), [((2, -3), "2 px south and 3 px west"), ((-1, 0), "1 px north of scene")])
def test_a_layer_that_lies_aside_is_told_with_its_direction(corpus: Corpus, shift: tuple[int, int], words: str) -> None:
    found = added_up(corpus, blocks_of(corpus, shift))
    assert found["radar"].shift == shift
    assert len(found["radar"].flags()) == 1 and words in found["radar"].flags()[0]
    assert not found["canopy"].flags() and not found["cover"].flags()


def test_a_layer_added_later_is_compared_with_the_stored_reference(corpus: Corpus) -> None:
    blocks = blocks_of(corpus, (4, 4))
    added_up(corpus, {name: blocks[name] for name in ("scene", "cover")})
    assert added_up(corpus, {"radar": blocks["radar"]})["radar"].shift == (4, 4)


def test_without_the_reference_nothing_is_compared(corpus: Corpus) -> None:
    found = added_up(corpus, {"radar": blocks_of(corpus)["radar"]})
    assert found["radar"].compared == 0 and found["radar"].in_place is None and found["radar"].flags() == []


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
    found = added_up(corpus, blocks, missing)
    assert (found["radar"].constant, found["radar"].constant_rows) == (1, [3])
    assert "one value all over a chip" in found["radar"].flags()[0] and "row 3" in found["radar"].flags()[0]
    assert found["scene"].constant == 0, "one band may be"
    assert found["canopy"].constant == found["cover"].constant == 0, "bare ground and water are"
    assert found["canopy"].outside == 640 and found["canopy"].flags() == []
    assert found["scene"].nodata == [19, 0, 0, 0, 0, 1, 0, 0], "half of a chip is at most 0.5"
    assert found["cover"].chips == 19 and found["cover"].nodata[0] == 19


def test_many_values_beyond_the_range_are_flagged(corpus: Corpus) -> None:
    blocks = blocks_of(corpus)
    blocks["canopy"] += 45
    found = added_up(corpus, blocks)["canopy"]
    beyond = float((blocks["canopy"] > 64).mean())
    assert beyond > 0.01 and f"{beyond:.1%} of its values outside of 0 to 64" in found.flags()[0]


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
    assert [varies_everywhere(one) for one in LAYERS] == [True, True, False, False, False]
    built_in = {one.name for one in catalog.modalities() if varies_everywhere(one)}
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
    chips = [chip(day(2018, 3, 11), "l1c", place=place) for place in range(12)]
    sized = [replace(one, grid=replace(one.grid, shape_yx=(SIZE_PX, SIZE_PX))) for one in chips]
    manifest = Manifest.freeze(sized, 0)
    manifest.write(tmp_path / MANIFEST)
    layers = catalog.bound(catalog.modalities(["sentinel2", "aligned", "aside"], [tmp_path / "lab.py"]), manifest)
    corpus = Corpus.create(tmp_path, layers, 8)
    with Sandbox(catalog=textured_earth()) as sandbox:
        engine = connect(Connection("demo-project", url=sandbox.url, patience=IMPATIENT))
        export(engine, corpus, layers, tmp_path / "spool", Silent())
    found = {quality.modality.name: quality for quality in quality_of(corpus)}
    assert found["aside"].shift == (1, -2)
    assert found["aside"].flags() == ["aside lies 1 px south and 2 px west of sentinel2, told by 12 of 12 chips"]
    assert found["aligned"].in_place == 1.0 and found["aligned"].flags() == []


def test_layers_of_one_chip_share_its_grid_in_whatever_requests_they_come(engine, sandbox) -> None:
    """Each pixel is asked where it is: in one request for all bands, and in one for each."""
    place = chip(day(2019, 6, 2))
    layers = [
        Modality(name, name, (Band("longitude"), Band("latitude")), "float64", float("nan"),
                 source=Pixels(lambda _: ee.Image.pixelLonLat()))
        for name in ("one", "other")
    ]  # fmt: skip
    x, y = place.grid.pixel_centres_xy()
    expected = to_lonlat(place.grid.crs).transform(*np.meshgrid(x, y))
    puller = Puller(engine)
    for requests in (1, 4):
        before = sandbox.counters()["total"]
        pulled = puller.pixels(place, layers)
        for name in ("one", "other"):
            np.testing.assert_allclose(pulled.values[name], expected, atol=1e-9)
        assert sandbox.counters()["total"] - before == requests
        puller.bands.shrink(1)
