"""MMEarth v001 as its published readers read it, against the corpus that it was written from."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import h5py
import numpy as np
import pytest

from exporters.formats.choice import Choice
from exporters.formats.convert import write_out
from exporters.formats.format import format_of
from exporters.formats.mmearth_v001 import variants
from exporters.formats.mmearth_v001.regions import regions
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.progress import Silent
from tests.exporters.formats.mmearth_v001.corpora import mmearth_corpus
from tests.exporters.formats.mmearth_v001.readers import TORCHGEO_LAYERS, TRAIN_LAYERS, AsMMEarthTrain, AsTorchGeo

STEM = "data_1M_v001"
CHIPS = 10
COVER_INDEX = {code: number for number, code in enumerate((10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100))}
S2_BANDS = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8A", "B8", "B9", "B10", "B11", "B12"]


def convert(corpus: Corpus, target: Path, choice: Choice | None = None, overwrite: bool = False, **options: str) -> str:
    selection = (choice or Choice()).of(corpus)
    return write_out(format_of("mmearth-v001", options), selection, target, options, overwrite, Silent())


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return mmearth_corpus(tmp_path_factory.mktemp("v001") / "corpus", CHIPS)


@pytest.fixture(scope="module")
def root(corpus: Corpus) -> Path:
    target = corpus.folder.parent / "out"
    assert convert(corpus, target) == f"{CHIPS} tiles of {STEM}."
    return target


def test_files_are_replaced_until_one_of_somebodys_own_lies_beside_them(corpus: Corpus, tmp_path: Path) -> None:
    target = tmp_path / "out"
    for overwrite in (False, True):
        convert(corpus, target, Choice(rows="0:2"), overwrite)
    own = target / STEM / "notes.txt"
    own.write_text("mine")
    with pytest.raises(Fatal, match=f"out holds {STEM}, which this command does not write"):
        convert(corpus, target, Choice(rows="0:2"), overwrite=True)
    assert own.read_text() == "mine"


def physical(corpus: Corpus, name: str, row: int, bands: list[str] | None = None) -> np.ndarray:
    """A layer in its units, NaN where nodata, in the order of the bands asked for."""
    modality = corpus.modality(name)
    values = modality.physical(corpus.read(name, slice(row, row + 1))[0])
    return values[[modality.band_names.index(band) for band in bands or modality.band_names]]


def wanted(corpus: Corpus, layer: str, row: int) -> np.ndarray:
    """What a reader should see in the published units, NaN where there is no datum (zero where v001 has no nodata)."""
    if layer == "sentinel2":
        return physical(corpus, layer, row, S2_BANDS) * 1e4
    if layer.startswith("sentinel1_"):
        suffix = {"asc": "ascending", "desc": "descending"}[layer[10:]]
        return physical(corpus, "sentinel1", row, [f"{band}_{suffix}" for band in ("VV", "VH", "HH", "HV")])
    values = physical(corpus, layer, row)
    return np.nan_to_num(np.rint(values)) if layer in ("aster", "canopy_height_eth") else values


def test_the_file_is_laid_out_as_published(corpus, root):
    expected = {
        "sentinel2": (13, "uint16"), "sentinel2_cloudmask": (1, "uint16"), "sentinel2_cloudprod": (1, "uint16"),
        "sentinel2_scl": (1, "uint8"), "sentinel1": (8, "float32"), "aster": (2, "int16"), "era5": (12, "float32"),
        "dynamic_world": (1, "uint8"), "canopy_height_eth": (2, "int8"), "lat": (2, "float32"), "lon": (2, "float32"),
        "biome": (14, "uint8"), "eco_region": (846, "uint16"), "month": (2, "float32"), "esa_worldcover": (1, "uint8"),
    }  # fmt: skip
    assert sorted(path.name for path in (root / STEM).iterdir()) == [
        f"{STEM}.h5", f"{STEM}_band_stats.json", f"{STEM}_splits.json", f"{STEM}_tile_info.json",
    ]  # fmt: skip
    with h5py.File(root / STEM / f"{STEM}.h5") as file:
        assert set(file) == {*expected, "metadata"}
        for name, (bands, dtype) in expected.items():
            array = file[name]
            image_level = name in ("era5", "lat", "lon", "biome", "eco_region", "month")
            tile = (bands,) if image_level else (bands, 16, 16)
            assert (array.shape, array.dtype, array.chunks) == ((CHIPS, *tile), dtype, (1, *tile)), name
            assert array.compression == "gzip"
        assert file["metadata"].dtype == [("tile_id", "S100"), ("S2_type", "S10")]


@pytest.mark.parametrize("layer", [name for name in TORCHGEO_LAYERS if name not in ("biome", "eco_region")])
def test_torchgeo_reads_the_values(corpus, root, layer):
    dataset = AsTorchGeo(root, STEM)
    for row in range(CHIPS):
        seen, level = dataset.layer(row, layer), corpus.manifest[row].acquisition.level
        if layer == "dynamic_world":
            np.testing.assert_array_equal(seen, wanted(corpus, layer, row) - 1)
        elif layer == "esa_worldcover":
            codes = np.nan_to_num(wanted(corpus, layer, row), nan=-1).astype(int)
            np.testing.assert_array_equal(seen, np.vectorize(lambda code: COVER_INDEX.get(code, 255))(codes))
        elif layer.startswith("sentinel2_"):
            nodata = 255 if layer == "sentinel2_scl" else 65535
            np.testing.assert_array_equal(seen, np.nan_to_num(wanted(corpus, layer, row), nan=nodata))
        else:
            key = "sentinel1" if layer.startswith("sentinel1") else layer
            stats = dataset.stats[f"sentinel2_{level}" if layer == "sentinel2" else key]
            expected = wanted(corpus, layer, row)
            if layer == "sentinel2":
                expected = np.nan_to_num(expected)  # compared with 0 after normalising, so nodata stays 0 there
            assert_denormalised(seen, expected, stats, 4 if layer == "sentinel1_desc" else 0)
            np.testing.assert_array_equal(np.isnan(seen), np.isnan(expected))


def assert_denormalised(seen: np.ndarray, expected: np.ndarray, stats: dict, first: int = 0) -> None:
    mean, std = (
        np.array(stats[key])[first : first + len(seen)].reshape(-1, *(1,) * (seen.ndim - 1)) for key in ("mean", "std")
    )
    there = ~np.isnan(expected)
    np.testing.assert_allclose((seen * std + mean)[there], expected[there], rtol=1e-5, atol=2e-3 * std.max())
    assert np.isfinite(seen[there]).all()


@pytest.mark.parametrize("layer", [name for name in TRAIN_LAYERS if name not in ("biome", "eco_region")])
def test_mmearth_train_reads_the_values(corpus, root, layer):
    dataset = AsMMEarthTrain(root, STEM)
    for row in range(CHIPS):
        chip = corpus.manifest[row]
        seen = dataset.layer(row, layer)
        if layer in ("lat", "lon", "month"):
            turn = {"lat": chip.location.lat / 360, "lon": chip.location.lon / 360,
                    "month": chip.acquisition.date.month / 12}[layer]  # fmt: skip
            expected = np.array([np.sin(2 * np.pi * turn), np.cos(2 * np.pi * turn)])
        elif layer == "sentinel2":
            expected = np.delete(wanted(corpus, layer, row), 10, axis=0)
        elif layer == "sentinel1":
            expected = np.concatenate([wanted(corpus, f"sentinel1_{name}", row) for name in ("asc", "desc")])
        else:
            expected = wanted(corpus, layer, row)
        if layer == "dynamic_world":
            np.testing.assert_array_equal(seen, np.nan_to_num(expected - 1, nan=-1))
        elif layer == "esa_worldcover":
            index = COVER_INDEX | {10: -1}  # tree cover is lost there
            np.testing.assert_array_equal(seen, np.vectorize(index.get)(np.nan_to_num(expected), -1))
        else:
            key = f"sentinel2_{chip.acquisition.level}" if layer == "sentinel2" else layer
            stats = {name: list(np.delete(numbers, 10) if layer == "sentinel2" else numbers)
                     for name, numbers in dataset.stats[key].items()}  # fmt: skip
            assert_denormalised(seen, expected, stats)
            if layer in ("sentinel2", "sentinel1", "era5"):
                np.testing.assert_array_equal(np.isfinite(seen), ~np.isnan(expected))


def test_regions_are_the_published_classes(corpus, root):
    dataset = AsMMEarthTrain(root, STEM)
    for row in range(CHIPS):
        place, info = corpus.manifest[row].location, dataset.tile_info[dataset.name(row)]
        ecoregion = dataset.layer(row, "eco_region")
        assert (ecoregion.sum(), dataset.layer(row, "biome").sum()) == (1, 1)
        assert regions()[ecoregion.argmax()].ecoregion_name == place.ecoregion_name
        assert info["eco_region"] == ecoregion.argmax() and info["biome"] == dataset.layer(row, "biome").argmax()
        assert (11, 1, 12, 13, 8, 6, 5, 4, 10, 14, 9, 7, 2, 3)[info["biome"]] == place.biome


def test_statistics_are_those_of_the_train_rows(corpus, root):
    dataset = AsMMEarthTrain(root, STEM)
    train = dataset.splits["train"]
    levels = np.array([corpus.manifest[row].acquisition.level for row in train])
    assert set(dataset.stats) == {
        "aster", "canopy_height_eth", "era5", "lat", "lon", "month", "sentinel1", "sentinel2_l1c", "sentinel2_l2a",
        "sentinel2_cloudmask_l1c", "sentinel2_cloudmask_l2a", "sentinel2_cloudprod_l1c", "sentinel2_cloudprod_l2a",
    }  # fmt: skip
    for level in ("l1c", "l2a"):
        values = np.stack([wanted(corpus, "sentinel2", row) for row in np.array(train)[levels == level]])
        found = dataset.stats[f"sentinel2_{level}"]
        for name, what in (("mean", np.nanmean), ("std", np.nanstd), ("min", np.nanmin), ("max", np.nanmax)):
            np.testing.assert_allclose(found[name], what(values, axis=(0, 2, 3)), rtol=1e-6)
    radar = np.stack([np.concatenate([wanted(corpus, f"sentinel1_{name}", row) for name in ("asc", "desc")])
                      for row in train])  # fmt: skip
    np.testing.assert_allclose(dataset.stats["sentinel1"]["std"], np.nanstd(radar, axis=(0, 2, 3)), rtol=1e-5)
    canopy = np.stack([physical(corpus, "canopy_height_eth", row) for row in train])  # the zeros of nodata do not count
    np.testing.assert_allclose(dataset.stats["canopy_height_eth"]["mean"], np.nanmean(canopy, axis=(0, 2, 3)))


def test_splits_and_tiles_are_the_manifest(corpus, root):
    dataset = AsTorchGeo(root, STEM)
    split = corpus.manifest.column("split")
    assert dataset.splits == {name: np.flatnonzero(split == name).tolist() for name in ("train", "val", "test")}
    assert list(dataset.tile_info) == [dataset.name(row) for row in range(CHIPS)]
    with dataset.arrays as file:
        levels = [row[1].decode() for row in file["metadata"][:]]
    for chip, (tile_id, info), level in zip(corpus.manifest, dataset.tile_info.items(), levels, strict=True):
        assert int(tile_id) == chip.row and info["S2_type"] == level == chip.acquisition.level
        assert info["S2_DATE"] == chip.acquisition.date.date().isoformat()
        assert (info["CRS"], info["lat"], info["lon"]) == (chip.grid.crs, chip.location.lat, chip.location.lon)
        assert tuple(info["geocorpus"]["transform"]) == chip.grid.transform
        assert info["geocorpus"]["anchor_id"] == chip.acquisition.anchor.asset_id


def test_bands_without_data_are_not_listed(corpus, root):
    infos = AsTorchGeo(root, STEM).tile_info
    for row, info in enumerate(infos.values()):
        radar = [wanted(corpus, f"sentinel1_{name}", row) for name in ("asc", "desc")]
        for name, values in zip(("asc", "desc"), radar, strict=True):
            there = [band for band, value in zip(("VV", "VH", "HH", "HV"), values, strict=True)
                     if not np.isnan(value).all()]  # fmt: skip
            assert info["BANDS"][f"sentinel1_{name}"] == there
        assert ("dynamic_world" in info["BANDS"]) == (not np.isnan(wanted(corpus, "dynamic_world", row)).all())
        climate = info["era5"]["month1"] + info["era5"]["month2"] + info["era5"]["year"]
        stored = corpus.read("era5", slice(row, row + 1))[0]
        assert [np.nan if value is None else value for value in climate] == pytest.approx(stored.tolist(), nan_ok=True)
        own, there = corpus.manifest[row].acquisition.date, ~np.isnan(stored[:8])
        before = own.replace(day=1) - timedelta(days=1)
        months = [f"{month:%Y%m}" for month in (before, own) for _ in range(4)]
        assert [name[:6] for name in info["BANDS"]["era5"] if name[1] != "_"] == list(np.array(months)[there])
    assert infos["0"]["BANDS"]["sentinel1_desc"] == ["VV", "VH", "HH"]


def test_a_selection_has_rows_of_its_own(corpus, tmp_path):
    convert(corpus, tmp_path / "out", Choice(rows="1,3:5,9"))
    dataset = AsTorchGeo(tmp_path / "out", STEM)
    assert list(dataset.tile_info) == ["1", "3", "4", "9"] and sum(map(len, dataset.splits.values())) == 4
    with dataset.arrays as file:
        stored = np.concatenate([corpus.read("dynamic_world", slice(row, row + 1)) for row in (1, 3, 4, 9)])
        np.testing.assert_array_equal(file["dynamic_world"][:], stored)


def test_the_small_variants(tmp_path, monkeypatch):
    corpus = mmearth_corpus(tmp_path / "corpus", chips=3, size_px=67)
    convert(corpus, tmp_path / "centres", variant="64")
    dataset = AsTorchGeo(tmp_path / "centres", "data_1M_v001_64")
    with dataset.arrays as file:
        assert file["sentinel2"].shape == (3, 13, 64, 64)
        whole = corpus.read("esa_worldcover", slice(0, 3))[:, :, 1:65, 1:65]
        np.testing.assert_array_equal(file["esa_worldcover"][:], np.where(whole == 0, 255, whole))
    grid, transform = corpus.manifest[0].grid, dataset.tile_info["0"]["geocorpus"]["transform"]
    assert (transform[2], transform[5]) == (grid.origin_xy[0] + 10, grid.origin_xy[1] - 10)
    few = replace(variants.VARIANTS["100k"], most=2)
    monkeypatch.setitem(variants.VARIANTS, "100k", few)
    line = convert(corpus, tmp_path / "few", variant="100k")
    assert line == "2 tiles of data_100k_v001; 1 chips beyond 2 are left out."
    assert list(AsTorchGeo(tmp_path / "few", "data_100k_v001").tile_info) == ["0", "1"]


def test_a_layer_that_is_not_there(tmp_path):
    corpus = mmearth_corpus(tmp_path / "corpus", chips=2, leave_out=["sentinel1", "sentinel2_scl", "esa_worldcover"])
    with pytest.raises(Fatal, match="sentinel2_scl, sentinel1, esa_worldcover"):
        convert(corpus, tmp_path / "out")
    convert(corpus, tmp_path / "out", missing="nodata")
    dataset = AsTorchGeo(tmp_path / "out", STEM)
    with dataset.arrays as file:
        assert (file["sentinel1"][:] == -np.inf).all() and (file["esa_worldcover"][:] == 255).all()
    assert dataset.tile_info["0"]["BANDS"]["sentinel1_asc"] is None
    assert dataset.stats["sentinel1"] == {"mean": [0] * 8, "std": [1] * 8, "min": [0] * 8, "max": [1] * 8}


def test_files_are_strict_json(root):
    def refuse(token: str) -> None:
        raise AssertionError(f"{token} is no JSON")

    for path in (root / STEM).glob("*.json"):
        json.loads(path.read_text(), parse_constant=refuse)


@pytest.mark.parametrize(
    ("choice", "options", "words"),
    [
        (Choice(), {"variant": "65"}, "unknown variant"),
        (Choice(), {"variant": "64"}, "chips of 16 px have no middle of 64"),
        (Choice(), {"missing": "nodat"}, "did you mean 'nodata'"),
        (Choice(layers=["sentinel2", "era5"]), {}, "--set missing=nodata"),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_is(corpus, tmp_path, choice, options, words):
    with pytest.raises(Fatal, match=words):
        convert(corpus, tmp_path / "out", choice, **options)
    assert list(tmp_path.iterdir()) == []


def test_an_unfinished_shard_leaves_nothing(tmp_path):
    corpus = mmearth_corpus(tmp_path / "corpus", chips=6)
    corpus.ledger.path("aster", 1).unlink()
    with pytest.raises(Fatal, match="aster"):
        convert(Corpus.open(tmp_path / "corpus"), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


def test_h5py_is_asked_for_by_name(corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(Fatal, match=r"pip install 'geocorpus\[mmearth\]'"):
        convert(corpus, tmp_path / "out")
