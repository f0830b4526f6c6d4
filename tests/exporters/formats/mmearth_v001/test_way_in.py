"""Published files become a corpus: values compared with what was written by h5py alone, facts with the reference."""

from __future__ import annotations

import json
import re
import shutil

import h5py
import numpy as np
import pytest

from flows import exchange, verify
from flows.stages import catalog
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.grid import to_crs
from pipeline.progress import Silent
from tests.exporters.formats.mmearth_v001.published import PLACES, write_published

TILES, SIZE_PX, STEM = 10, 16, "data_100k_v001"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published") / STEM
    return folder, write_published(folder, TILES, SIZE_PX)


@pytest.fixture(scope="module")
def corpus(published, tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus") / "new"
    take_in(published[0], folder)
    return Corpus.open(folder)


def take_in(source, folder, *options, shard_rows=4):
    return exchange.import_corpus(source, folder, None, options, [f"corpus.shard_rows={shard_rows}"], Silent())


def values(corpus, name):
    return corpus.read(name, slice(0, len(corpus.manifest)))


def written(published, name):
    return np.stack([tile[name] for tile in published[1]])


def reasons(corpus, name):
    return {row: reason for entry in corpus.entries(name) for row, reason in entry.missing.items()}


def test_every_layer_is_ours_with_the_values_that_were_published(published, corpus):
    known = {layer.name: layer for layer in catalog.modalities()}
    optical, radar = corpus.modality("sentinel2"), corpus.modality("sentinel1")
    assert optical == known["sentinel2"] and radar == known["sentinel1"]
    theirs = written(published, "sentinel2")
    assert optical.band_names[7:9] == ("B8", "B8A")
    assert np.array_equal(values(corpus, "sentinel2"), theirs[:, [0, 1, 2, 3, 4, 5, 6, 8, 7, 9, 10, 11, 12]])
    decibels = written(published, "sentinel1")
    stored = radar.physical(values(corpus, "sentinel1"))
    is_data = np.isfinite(decibels) & (decibels != 0)
    assert np.abs(stored - decibels)[is_data].max() <= 0.0051 and np.isnan(stored[~is_data]).all()
    assert np.array_equal(values(corpus, "aster"), written(published, "aster").astype("f4"))
    for name in ("lat", "lon", "month", "era5", "sentinel2_cloudmask", "dynamic_world"):
        assert np.array_equal(values(corpus, name), written(published, name)), name
    for name, fill, nodata in (("sentinel2_cloudprod", 255, 65535), ("sentinel2_scl", 255, 255)):
        theirs = written(published, name)
        assert np.array_equal(values(corpus, name), np.where(theirs == nodata, fill, theirs))
    cover = written(published, "esa_worldcover")
    assert np.array_equal(values(corpus, "esa_worldcover"), np.where(cover == 255, 0, cover))
    canopy = written(published, "canopy_height_eth").astype(int)
    assert np.array_equal(values(corpus, "canopy_height_eth"), np.where(canopy == 127, 255, canopy))


def test_classes_get_the_codes_of_resolve(corpus):
    codes = (11, 1, 12, 13, 8, 6, 5, 4, 10, 14)  # mmearth.md 1.2: tundra is 0, moist broadleaf 1, mediterranean 2, ...
    assert values(corpus, "biome")[:, 0].tolist() == list(codes)
    assert corpus.manifest.column("biome").tolist() == list(codes)
    assert corpus.manifest.column("biome_name")[0] == "Tundra"
    assert values(corpus, "eco_region")[:, 0].tolist() == corpus.manifest.column("ecoregion").tolist()
    assert set(corpus.modality("eco_region").codes) == set(corpus.manifest.column("ecoregion").tolist())


def test_the_manifest_says_what_is_known(corpus):
    chip = corpus.manifest[1]
    lon, lat, crs = PLACES[1]
    assert (chip.location.id, chip.location.lonlat, chip.grid.crs) == ("1007", (lon + 0.02, lat + 0.02), crs)
    assert chip.acquisition.level == "l2a" and f"{chip.acquisition.date:%Y-%m-%d}" == "2019-02-02"
    assert chip.acquisition.anchor.asset_id == "" and chip.acquisition.ascending is None
    x, y = to_crs(crs).transform(*chip.location.lonlat)
    left, bottom, right, top = chip.grid.bounds_xy
    assert abs((left + right) / 2 - x) <= 5 and abs((bottom + top) / 2 - y) <= 5 and left % 10 == 0
    assert np.bincount([("train", "val").index(name) for name in corpus.manifest.column("split")]).tolist() == [7, 3]
    order = np.random.default_rng(0).permutation(TILES)
    assert set(corpus.manifest.rows_of("val")) == set(order[-3:])


def test_what_is_lacking_has_a_reason_and_checks_were_made(corpus):
    assert reasons(corpus, "dynamic_world") == {3: "the published files have no such bands of this tile"}
    assert set(reasons(corpus, "sentinel2_scl")) == {0, 2, 4, 6, 8} and not reasons(corpus, "sentinel1")
    assert all(entry.quality["chips"] == len(range(*entry.rows)) for entry in corpus.entries("sentinel2"))
    assert verify.verify(corpus.folder, Silent()).found.faults == []
    unknown = json.loads((corpus.folder / "import.json").read_text())["unknown"]
    assert any("ids and times of scenes" in sentence for sentence in unknown)
    assert "13 months" in corpus.modality("era5").time_rule


def test_the_64_px_variant_plain_storage_and_exact_values(tmp_path):
    made = write_published(tmp_path / "data_1M_v001_64", 3, 64, "data_1M_v001_64", gzip=False)
    take_in(tmp_path, tmp_path / "corpus", "exact=yes")
    corpus = Corpus.open(tmp_path / "corpus")
    assert corpus.manifest.size_px == 64
    decibels = np.stack([tile["sentinel1"] for tile in made])
    is_data = np.isfinite(decibels) & (decibels != 0)
    stored = values(corpus, "sentinel1")
    assert stored.dtype == np.float32 and np.array_equal(stored[is_data], decibels[is_data])
    assert np.isnan(stored[~is_data]).all()


def test_bands_that_the_published_converter_shifted_are_left_out(tmp_path, published):
    folder = tmp_path / STEM
    shutil.copytree(published[0], folder)
    path = folder / f"{STEM}_tile_info.json"
    infos = json.loads(path.read_text())
    infos["1007"]["BANDS"]["sentinel2"].remove("MSK_CLDPRB")
    path.write_text(json.dumps(infos))
    take_in(folder, tmp_path / "corpus")
    corpus = Corpus.open(tmp_path / "corpus")
    assert "read another band" in reasons(corpus, "sentinel1")[1] and 1 in reasons(corpus, "aster")
    assert 1 not in reasons(corpus, "sentinel2") and 1 not in reasons(corpus, "era5")


def _cut(folder):
    path = folder / f"{STEM}.h5"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _foreign(folder):
    with h5py.File(folder / f"{STEM}.h5", "w") as file:
        file["images"] = np.zeros(3)


def _other_version(folder):
    with h5py.File(folder / f"{STEM}.h5", "a") as file:
        del file["sentinel1"]
        file["sentinel1"] = np.zeros((TILES, 4, SIZE_PX, SIZE_PX), "f4")


def _bent(folder):
    """The signature of the list of names is another one."""
    path = folder / f"{STEM}.h5"
    path.write_bytes(path.read_bytes().replace(b"HEAP", b"HEAQ", 1))


def _group(folder):
    with h5py.File(folder / f"{STEM}.h5", "a") as file:
        del file["aster"]
        file.create_group("aster")


def _other_facts(folder):
    """What our way out writes beside v001, with a number where a text belongs."""
    path = folder / f"{STEM}_tile_info.json"
    tiles = json.loads(path.read_text())
    for info in tiles.values():
        grid = {"transform": [10.0, 0.0, 5e5, 0.0, -10.0, 5e6], "shape": [SIZE_PX, SIZE_PX]}
        info["geocorpus"] = {"id": "a", "longitude": 1.0, "latitude": 2.0, "stratum": 3, **grid}
    path.write_text(json.dumps(tiles))


def _edit(name, change):
    def edit(folder):
        path = folder / f"{STEM}_{name}.json"
        path.write_text(change(path.read_text()))

    return edit


def _at_91_degrees(text):
    return re.sub(r'"lat": [-0-9.]+', '"lat": 91.0', text)


BAD = {
    "cut": (_cut, "cannot be read as HDF5"),
    "no HDF5": (lambda folder: (folder / f"{STEM}.h5").write_text("hello"), "cannot be read as HDF5"),
    "bent": (_bent, r"is damaged \(.*heap"),
    "a group": (_group, "aster is no array of tiles"),
    "other facts": (_other_facts, "says of a tile what v001 does not"),
    "beyond the pole": (_edit("tile_info", _at_91_degrees), "not as in v001"),
    "foreign": (_foreign, "it has no dataset 'metadata'"),
    "other version": (_other_version, r"sentinel1 is \(10, 4, 16, 16\), where v001 has \(10, 8, 16, 16\)"),
    "no splits": (lambda folder: (folder / f"{STEM}_splits.json").unlink(), "_splits.json is not there"),
    "no description": (lambda folder: (folder / f"{STEM}_tile_info.json").unlink(), "_tile_info.json is not there"),
    "cut description": (_edit("tile_info", lambda text: text[:-900]), "cannot be read as a JSON object"),
    "another's description": (_edit("tile_info", lambda text: text.replace('"1007"', '"1008"')), "nothing of 1 of 10"),
    "no date": (_edit("tile_info", lambda text: text.replace("2019-02-02", "someday")), "tile 1007 .* not as in v001"),
    "no zone": (_edit("tile_info", lambda text: text.replace("EPSG:32720", "EPSG:1")), "not as in v001"),
    "no class": (_edit("tile_info", lambda text: text.replace('"biome": 1,', '"biome": 99,')), "not as in v001"),
    "a field less": (_edit("tile_info", lambda text: text.replace('"S2_type"', '"s2"')), "lacks 'S2_type'"),
    "beyond": (_edit("splits", lambda text: text.replace("9", "19")), "beyond the 10"),
    "unlisted": (_edit("splits", lambda text: text.replace("9", "8")), "names a row twice"),
    "another's splits": (_edit("splits", lambda text: '{"train": [1]}'), "gives no split to 9"),
    "no lists": (_edit("splits", lambda text: "[]"), "is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_nothing_is_written(published, tmp_path, case):
    shutil.copytree(published[0], tmp_path / STEM)
    damage, sentence = BAD[case]
    damage(tmp_path / STEM)
    with pytest.raises(Fatal, match=sentence) as raised:
        take_in(tmp_path / STEM, tmp_path / "corpus")
    assert "\n" not in str(raised.value) and not (tmp_path / "corpus").exists()


def test_two_files_are_not_guessed_between(published, tmp_path):
    shutil.copytree(published[0], tmp_path / STEM)
    shutil.copy(tmp_path / STEM / f"{STEM}.h5", tmp_path / STEM / "data_copy.h5")
    with pytest.raises(Fatal, match="2 files"):
        take_in(tmp_path / STEM, tmp_path / "corpus")


def test_a_damaged_chunk_stops_the_import_and_a_better_copy_goes_on(published, corpus, tmp_path):
    folder = tmp_path / STEM
    shutil.copytree(published[0], folder)
    path = folder / f"{STEM}.h5"
    with h5py.File(path) as file:
        place = file["sentinel2"].id.get_chunk_info_by_coord((6, 0, 0, 0))
    content = bytearray(path.read_bytes())
    content[place.byte_offset + 40 : place.byte_offset + 80] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(Fatal, match="damaged in sentinel2, row 6 "):
        take_in(folder, tmp_path / "corpus")
    assert len(Corpus.open(tmp_path / "corpus").missing()) == 2
    shutil.copy(published[0] / f"{STEM}.h5", path)
    take_in(folder, tmp_path / "corpus")
    again = Corpus.open(tmp_path / "corpus")
    assert again.manifest == corpus.manifest
    for name in corpus.modalities:
        assert [entry.digest for entry in again.entries(name)] == [entry.digest for entry in corpus.entries(name)]


@pytest.mark.slow
def test_a_trainer_takes_it_with_its_defaults(corpus, tmp_path):
    from training.config import PretrainConfig
    from training.pretrain.train import pretrain

    settings = {"encoder": "zepto", "image_px": 16, "patch_px": 8, "decoder_width": 16, "batch_size": 4, "steps": 1,
                "threads": 1, "pictures_every": 0}  # fmt: skip
    result = pretrain(corpus.folder, PretrainConfig.from_dict(settings), tmp_path / "run", Silent())
    assert result.steps == 1 and all(np.isfinite(loss) for loss in result.last_losses.values())
    assert len(result.last_losses) >= 11
