"""The store says where each chip is and of which scenes, as pyproj and the manifest's file say it independently."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyproj
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import coordinates
from pipeline.chip import Acquisition, Chip, Scene
from pipeline.corpus import Corpus
from pipeline.corpus_folder import MANIFEST
from pipeline.grid import Grid, epsg_code, utm_crs
from pipeline.location import Location, location_id
from pipeline.manifest import Manifest
from pipeline.progress import Silent
from pipeline.verification import verify
from tests.pipeline.chips import CLIMATE, COVER, OPTICAL, make_chip, make_manifest

ROLES = ("anchor", "ascending", "descending")
LAMBERT = pyproj.CRS("EPSG:3035").to_wkt()
WITHOUT_CODE = "+proj=laea +lat_0=10 +lon_0=20 +datum=WGS84"
_times = st.datetimes(datetime(2015, 6, 1), datetime(2026, 1, 1)).map(
    lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000, tzinfo=UTC)
)
_scenes = st.builds(Scene, st.from_regex(r"[A-Z0-9_/]{1,40}", fullmatch=True), _times)


@st.composite
def chips(draw: st.DrawFn) -> Chip:
    lonlat = draw(st.floats(-180, 179.99)), draw(st.floats(-79.9, 83.9))
    grid = Grid.around(lonlat, utm_crs(lonlat), draw(st.sampled_from([16, 17, 128])))
    passes = [draw(st.none() | _scenes) for _ in ROLES[1:]]
    acquisition = Acquisition(draw(_scenes), draw(st.sampled_from(["l1c", "l2a"])), *passes)
    place = Location(location_id(*lonlat), *lonlat, stratum="s")
    return Chip(place, grid, acquisition, draw(st.sampled_from(["train", "val", "test"])))


def stored(folder: Path) -> dict[str, np.ndarray]:
    """The coordinates as zarr-python reads them."""
    store = zarr.open_group(folder / "corpus.zarr", mode="r")
    return {item.name: np.asarray(store[item.name][:]) for item in coordinates.COORDINATES}


@settings(max_examples=40, deadline=None)
@given(st.lists(chips(), min_size=1, max_size=12, unique_by=lambda chip: chip.location.id))
def test_every_coordinate_is_what_the_manifest_says(drawn: list[Chip]) -> None:
    manifest = Manifest.freeze(drawn, 0)
    found = {item.name: np.concatenate([*item.blocks(manifest)]) for item in coordinates.COORDINATES}
    for index, chip in enumerate(manifest):
        epsg, side, (height, width) = int(found["epsg"][index]), chip.grid.resolution_m, chip.grid.shape_yx
        left, top = (float(found[name][index]) for name in ("origin_x_m", "origin_y_m"))
        assert f"EPSG:{epsg}" == chip.grid.crs and (left, top) == chip.grid.origin_xy
        assert found["resolution_m"][index] == side
        to_degrees = pyproj.Transformer.from_crs(epsg, 4326, always_xy=True)
        lon, lat = to_degrees.transform(left + width * side / 2, top - height * side / 2)
        assert math.isclose(found["centre_longitude"][index], lon, abs_tol=1e-9)
        assert math.isclose(found["centre_latitude"][index], lat, abs_tol=1e-9)
        for role in ROLES:
            scene, since = getattr(chip.acquisition, role), found[f"{role}_time"][index].astype("datetime64[ms]")
            assert found[f"{role}_id"][index] == (scene.asset_id if scene else "")
            assert np.isnat(since) if scene is None else since == np.datetime64(scene.time.replace(tzinfo=None), "ms")
        assert ["l1c", "l2a"][found["level_code"][index]] == chip.acquisition.level == found["level"][index]
        assert ["train", "val", "test"][found["split_code"][index]] == chip.split == found["split"][index]


def test_crs_without_a_code_and_levels_of_others() -> None:
    assert [epsg_code(crs) for crs in ("EPSG:32632", LAMBERT, WITHOUT_CODE)] == [32632, 3035, 0]
    (level,) = (item for item in coordinates.COORDINATES if item.name == "level_code")
    assert level.of(np.array(["l2a", "l3", "l1c"], object)).tolist() == [1, -1, 0]


def test_chunks_end_where_blocks_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written a block at a time, every chunk holds what it would if written at once."""
    manifest = make_manifest(tmp_path, 23)
    whole = {item.name: np.concatenate([*item.blocks(manifest)]) for item in coordinates.COORDINATES}
    for module in ("coordinates", "layout"):
        monkeypatch.setattr(f"pipeline.{module}.CHUNK_ROWS", 5)
    Corpus.create(tmp_path, [], 8)
    for name, values in stored(tmp_path).items():
        np.testing.assert_array_equal(values, whole[name])
    assert len(list((tmp_path / "corpus.zarr" / "anchor_id" / "c").iterdir())) == 5


@pytest.mark.filterwarnings("ignore:.*consolidated")
def test_xarray_takes_them_for_coordinates(tmp_path: Path) -> None:
    make_manifest(tmp_path, 9)
    Corpus.create(tmp_path, [CLIMATE], 8).finalize()
    with xr.open_zarr(tmp_path / "corpus.zarr") as data:
        assert {item.name for item in coordinates.COORDINATES} <= set(data.coords)
        assert data["epsg"].dtype == np.int32 and data["split_code"].dtype == np.int8
        absent = data["descending_time"].isnull().to_numpy()
        assert absent.tolist() == (data["descending_id"] == "").to_numpy().tolist() and 0 < absent.sum() < 9
        spent = data["time"] - data["anchor_time"]
        assert abs(spent.to_numpy()).max() < np.timedelta64(1, "s")


def test_a_layer_that_is_added_is_seen_at_once(tmp_path: Path) -> None:
    """By readers that trust consolidated metadata, before and after it has values."""
    make_manifest(tmp_path, 9)
    Corpus.create(tmp_path, [CLIMATE], 8).finalize()
    assert set(zarr.open_group(tmp_path / "corpus.zarr", mode="r").array_keys()) >= {"climate", "epsg"}
    Corpus.create(tmp_path, [CLIMATE, COVER], 8)
    for use in (None, False):
        group = zarr.open_group(tmp_path / "corpus.zarr", mode="r", use_consolidated=use)
        assert {"climate", "cover", "band_cover", "epsg"} <= set(group.array_keys())
    assert not (tmp_path / "seal.json").exists()
    Corpus.open(tmp_path).finalize()
    root = json.loads((tmp_path / "corpus.zarr" / "zarr.json").read_text())
    assert {"climate", "cover"} <= set(root["consolidated_metadata"]["metadata"])


def test_what_an_older_release_has_hidden_is_seen_when_the_run_goes_on(tmp_path: Path) -> None:
    make_manifest(tmp_path, 9)
    Corpus.create(tmp_path, [CLIMATE], 8).finalize()
    path = tmp_path / "corpus.zarr" / "zarr.json"
    stale = path.read_bytes()
    Corpus.create(tmp_path, [CLIMATE, COVER], 8)
    path.write_bytes(stale)
    Corpus.create(tmp_path, [CLIMATE], 8)
    assert path.read_bytes() == stale, "they have that layer"
    Corpus.create(tmp_path, [CLIMATE, COVER], 8)
    assert "cover" in set(zarr.open_group(tmp_path / "corpus.zarr", mode="r").array_keys())


def test_tensorstore_opens_all_but_texts(tmp_path: Path) -> None:
    tensorstore = pytest.importorskip("tensorstore", reason="tensorstore is not installed (the dev group has it)")
    make_manifest(tmp_path, 9)
    corpus = Corpus.create(tmp_path, [OPTICAL, CLIMATE], 8)
    block = np.arange(8 * 3 * 16 * 16, dtype=np.uint16).reshape(8, 3, 16, 16)
    corpus.write(corpus.shards[0], "optical", block, {})
    for name, values in (stored(tmp_path) | {"optical": block}).items():
        path = str(tmp_path / "corpus.zarr" / name)
        opening = tensorstore.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": path}})
        if values.dtype.kind in "TO":
            with pytest.raises(ValueError, match="string"):
                opening.result()
        else:
            np.testing.assert_array_equal(opening.result()[: len(values)].read().result(), values)


def test_a_place_that_moved_in_the_last_digit_is_no_damage(tmp_path: Path) -> None:
    """Another release of PROJ may compute the last digits of a centre otherwise."""
    make_manifest(tmp_path, 9)
    Corpus.create(tmp_path, [], 8)
    for moved, faults in ((1e-12, 0), (1e-6, 2)):
        array = zarr.open_array(tmp_path / "corpus.zarr" / "centre_longitude", mode="r+")
        array[:] = np.asarray(array[:]) + moved
        assert len(verify(tmp_path, Silent()).faults) == faults


def test_times_of_scenes_keep_their_milliseconds(tmp_path: Path) -> None:
    chip = make_chip(1)
    scene = Scene("S2/X", datetime(2020, 1, 1, 10, 0, 0, 123_000, UTC) + timedelta(days=1))
    Manifest.freeze([replace(chip, acquisition=Acquisition(scene, "l2a"))], 0).write(tmp_path / MANIFEST)
    Corpus.create(tmp_path, [], 4)
    found = stored(tmp_path)
    assert found["anchor_time"].astype("datetime64[ms]")[0] == np.datetime64("2020-01-02T10:00:00.123")
    assert found["ascending_time"][0] == np.iinfo(np.int64).min
