"""An upgraded corpus is that of an export by this release, to the byte, however often the upgrade was cut off."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from pipeline import durable
from pipeline.compression import FORMAT_VERSION
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.progress import Silent
from pipeline.upgrade import Outcome, upgrade
from pipeline.verification import verify
from tests.pipeline.older import LAYERS, SIZE_PX, aged, made, snapshot, with_layer_called, write
from tests.pipeline.test_growth import grown

NAMES = [modality.name for modality in LAYERS]


@pytest.fixture(scope="module")
def stale(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished corpus of an older release; copied by those who change it."""
    folder = tmp_path_factory.mktemp("stale")
    corpus = made(folder, 1)
    corpus.finalize()
    aged(corpus)
    return folder


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of the same corpus as this release makes it."""
    corpus = made(tmp_path_factory.mktemp("fresh"), FORMAT_VERSION)
    corpus.finalize()
    return snapshot(corpus.folder)


@pytest.fixture
def folder(stale: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stale, tmp_path / "corpus"))


def upgraded(folder: Path) -> Outcome:
    return upgrade(Corpus.open(folder), Silent())


def test_it_is_as_if_this_release_had_made_it(folder: Path, fresh: dict[str, bytes]) -> None:
    assert upgraded(folder) == Outcome(8)  # nine shards, of which one is all nodata
    after = snapshot(folder)
    assert {name for name in after | fresh if after.get(name) != fresh.get(name)} == set()
    assert upgraded(folder) == Outcome(0) and snapshot(folder) == fresh


@pytest.mark.parametrize("after", [None, 0, 1, 10, 28, 29])
def test_a_store_that_lacks_coordinates_alone_gets_them(
    tmp_path: Path, fresh: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, after: int | None
) -> None:
    """Format 2 has the checksums; however often it is cut off, no layer is touched."""
    corpus = made(tmp_path, 2)
    corpus.finalize()
    before = values(tmp_path)
    assert "epsg" not in before and Corpus.open(tmp_path).format_version == 2
    if after is not None:
        with monkeypatch.context() as context, pytest.raises(CutError):
            cut_off(context, after)
            upgraded(tmp_path)
        assert verify(tmp_path, Silent()).faults == []
        assert {name: values(tmp_path)[name].tolist() for name in ("chip", "cover")} == {
            name: before[name].tolist() for name in ("chip", "cover")
        }
    assert upgraded(tmp_path) == Outcome(0)
    assert snapshot(tmp_path) == fresh


def test_an_upgrade_that_was_cut_off_goes_on_after_growth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The coordinates that were there already lack the new rows, though their metadata have them."""
    for name, version in (("stale", 2), ("fresh", FORMAT_VERSION)):
        made(tmp_path / name, version).finalize()
    with monkeypatch.context() as context, pytest.raises(CutError):
        cut_off(context, 20)
        upgraded(tmp_path / "stale")
    for name in ("stale", "fresh"):
        grown(tmp_path / name)
        Corpus.create(tmp_path / name, LAYERS, 8)
    upgraded(tmp_path / "stale")
    arrays = [values(tmp_path / name) for name in ("stale", "fresh")]
    assert {name: array.tolist() for name, array in arrays[0].items() if name not in NAMES} == {
        name: array.tolist() for name, array in arrays[1].items() if name not in NAMES
    }


def test_what_is_not_finished_stays_so(tmp_path: Path) -> None:
    corpora = [made(tmp_path / "stale", 1), made(tmp_path / "fresh", FORMAT_VERSION)]
    for corpus in corpora:
        corpus.object_path("optical", corpus.shards[2]).unlink()
        corpus.ledger.path("optical", 2).unlink()
    aged(corpora[0])
    assert upgraded(tmp_path / "stale") == Outcome(7)
    assert snapshot(tmp_path / "stale") == snapshot(tmp_path / "fresh")


class CutError(Exception):
    """The process is gone."""


def cut_off(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Let so many more files be published, and none after them; a further one stays as it was."""
    left, publish = [after], durable.publish

    def counted(path: Path, write) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise CutError
        publish(path, write)

    monkeypatch.setattr(durable, "publish", counted)


def values(folder: Path) -> dict[str, np.ndarray]:
    """The arrays through zarr-python, by the codecs that their metadata name now."""
    store = folder / "corpus.zarr"
    return {
        path.parent.name: np.asarray(zarr.open_array(path.parent, mode="r")[:])
        for path in sorted(store.glob("*/zarr.json"))
    }


@pytest.mark.parametrize("after", [*range(1, 54, 6), 59, 71, 80])
def test_cut_off_anywhere_it_reads_as_before_and_goes_on(
    folder: Path, fresh: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    cut_and_go_on(folder, fresh, monkeypatch, after)


@pytest.mark.parametrize("after", range(2, 27, 5))
def test_as_well_with_entries_that_know_their_index(
    tmp_path: Path, fresh: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    made(tmp_path, 1).finalize()
    cut_and_go_on(tmp_path, fresh, monkeypatch, after)


def cut_and_go_on(folder: Path, fresh: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    before = values(folder)
    with monkeypatch.context() as context:
        cut_off(context, after)
        with pytest.raises(CutError):
            upgraded(folder)
    between, corpus = values(folder), Corpus.open(folder)
    assert all(np.array_equal(between[name], before[name], equal_nan=name == "climate") for name in before)
    assert set(between) >= set(before)
    for name in NAMES:
        assert np.array_equal(corpus.read(name, slice(0, 21)), before[name], equal_nan=name == "climate")
    assert verify(folder, Silent()).faults == []
    xr.open_zarr(folder / "corpus.zarr", consolidated=False).load()
    upgraded(folder)
    assert snapshot(folder) == fresh


@pytest.mark.parametrize(
    ("name", "at", "words"),
    [
        ("optical", 4, "shard 1 of 'optical' (row 8 has another size)"),
        ("optical", 16, "shard 1 of 'optical' (row 8 cannot be decoded)"),
        ("optical", -1, "shard 1 of 'optical' (its index has another checksum)"),
        ("climate", 30, "shard 1 of 'climate' (its digest is not the one in the ledger)"),
    ],
)
def test_a_damaged_shard_is_named_and_stops_no_other(
    folder: Path, fresh: dict[str, bytes], name: str, at: int, words: str
) -> None:
    corpus = Corpus.open(folder)
    path = corpus.object_path(name, corpus.shards[1])
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)
    outcome = upgraded(folder)
    assert outcome.rewritten == 7 and outcome.damaged == (words,)
    assert path.read_bytes() == content and Corpus.open(folder).format_version == 1
    write(Corpus.open(folder), name, 1)  # as an export would
    assert upgraded(folder).damaged == ()
    assert snapshot(folder) == fresh


def test_damage_that_decodes_gets_no_checksum(folder: Path) -> None:
    """Appended to what is there, a checksum would vouch for it for ever."""
    corpus = Corpus.open(folder)
    path, other = (corpus.object_path("optical", shard) for shard in corpus.shards[:2])
    path.write_bytes(other.read_bytes())
    outcome = upgraded(folder)
    assert outcome.damaged == ("shard 0 of 'optical' (its digest is not the one in the ledger)",)


def test_attributes_that_a_person_has_set_stay(folder: Path) -> None:
    for key in ("zarr.json", "optical/zarr.json"):
        path = folder / "corpus.zarr" / key
        data = json.loads(path.read_text())
        data["attributes"]["note"] = "ours"
        path.write_text(json.dumps(data))
    upgraded(folder)
    for key in ("", "optical"):
        node = zarr.open(folder / "corpus.zarr" / key, mode="r")
        assert node.attrs["note"] == "ours"


def test_a_layer_of_another_kind_is_left_alone(folder: Path) -> None:
    array = folder / "corpus.zarr" / "cover"
    stored, attributes = zarr.open_array(array, mode="r")[:], dict(zarr.open_array(array, mode="r").attrs)
    shutil.rmtree(array)
    zarr.create_array(
        array, shape=stored.shape, dtype=stored.dtype, fill_value=255, attributes=attributes,
        chunks=(1, 1, SIZE_PX, SIZE_PX), shards=(8, 1, SIZE_PX, SIZE_PX),
    )[:] = stored  # fmt: skip
    assert upgraded(folder).damaged == ("layer 'cover' (it is not cut and compressed as in any release)",)
    assert np.array_equal(zarr.open_array(array, mode="r")[:], stored)


@pytest.mark.parametrize("version", [1, 2])
def test_a_layer_with_the_name_of_a_new_coordinate_stops_it_before_anything_is_written(
    tmp_path: Path, version: int
) -> None:
    with_layer_called(tmp_path, "epsg", version).finalize()
    before = snapshot(tmp_path)
    with pytest.raises(Fatal, match=r"the layer 'epsg' of .* name of a coordinate .*--to corpus --layer NAME"):
        upgraded(tmp_path)
    assert snapshot(tmp_path) == before


def test_a_damaged_entry_stops_it(folder: Path) -> None:
    path = folder / "ledger" / "optical" / "00001.json"
    path.write_text(path.read_text()[:40])
    with pytest.raises(Fatal, match=r"00001\.json"):
        upgraded(folder)
