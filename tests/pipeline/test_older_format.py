"""Format 2 has a checksum behind everything; a store of format 1 is read as ever, and what it lacks is said once."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from pipeline import older_format
from pipeline.compression import FORMAT_VERSION
from pipeline.coordinates import COORDINATES
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.progress import Silent
from pipeline.verification import verify
from tests.pipeline.chips import CLIMATE, COVER, MODALITIES, OPTICAL, make_block, make_manifest
from tests.pipeline.older import with_layer_called

SIZE_PX = 16


def made(folder: Path, format_version: int, modalities: tuple = MODALITIES) -> Corpus:
    if not (folder / "manifest.parquet").exists():
        make_manifest(folder, 21, SIZE_PX)
    corpus = Corpus.create(folder, modalities, shard_rows=8, format_version=format_version)
    for shard, names in corpus.missing().items():
        for name in names:
            corpus.write(shard, name, make_block(corpus.modality(name), len(shard), SIZE_PX, shard.index), {})
    return corpus


def codecs_of(folder: Path) -> dict[str, list[str]]:
    """By array, the names of the codecs of what it holds: of a shard, of its chips."""
    found = {}
    for path in sorted((folder / "corpus.zarr").glob("*/zarr.json")):
        codecs = json.loads(path.read_text())["codecs"]
        inner = codecs[0]["configuration"]["codecs"] if codecs[0]["name"] == "sharding_indexed" else codecs
        found[path.parent.name] = [codec["name"] for codec in inner]
    return found


def test_everything_carries_a_checksum_last(tmp_path: Path) -> None:
    made(tmp_path, FORMAT_VERSION)
    found = codecs_of(tmp_path)
    assert len(found) == len(COORDINATES) + 2 * len(MODALITIES) and {names[-1] for names in found.values()} == {
        "crc32c"
    }
    assert found["optical"] == found["climate"] == ["bytes", "blosc", "crc32c"]
    assert found["chip"] == ["vlen-utf8", "zstd", "crc32c"]
    assert (
        json.loads((tmp_path / "corpus.zarr" / "zarr.json").read_text())["attributes"]["format_version"]
        == FORMAT_VERSION
    )


def test_a_store_of_format_1_reads_the_same(tmp_path: Path) -> None:
    older, newer = made(tmp_path / "older", 1), made(tmp_path / "newer", FORMAT_VERSION)
    assert "crc32c" not in str(codecs_of(older.folder))
    for modality in MODALITIES:
        assert np.array_equal(
            older.read(modality.name, slice(0, 21)), newer.read(modality.name, slice(0, 21)),
            equal_nan=modality is CLIMATE,
        )  # fmt: skip
    whole = zarr.open_array(older.folder / "corpus.zarr" / "optical", mode="r")[:]
    assert np.array_equal(whole, older.read("optical", slice(0, 21)))


def test_a_layer_that_is_added_to_an_older_store_has_its_codecs(tmp_path: Path) -> None:
    made(tmp_path, 1, (OPTICAL,))
    again = made(tmp_path, FORMAT_VERSION, (OPTICAL, COVER))
    assert again.format_version == 1 and codecs_of(tmp_path)["cover"] == ["bytes", "blosc"]
    assert again.missing() == {} and Corpus.open(tmp_path).read("cover", slice(0, 21)).size


@pytest.mark.parametrize(("version", "name"), [(1, "epsg"), (2, "level_code")])
def test_a_layer_with_the_name_of_a_newer_coordinate_is_read_as_ever(tmp_path: Path, version: int, name: str) -> None:
    corpus = with_layer_called(tmp_path, name, version)
    assert sorted(corpus.modalities) == sorted(["cover", name])
    assert np.array_equal(corpus.read(name, slice(0, 8)), make_block(CLIMATE, 8, SIZE_PX, 0), equal_nan=True)
    found = verify(tmp_path, Silent())
    assert (found.faults, found.unfinished) == ([], 0)
    known = [corpus.modality("cover"), corpus.modality(name)]
    assert sorted(Corpus.create(tmp_path, known, 8).modalities) == sorted(["cover", name])
    with pytest.raises(Fatal, match="the store uses that name"):
        Corpus.create(tmp_path, [replace(CLIMATE, name="split_code")], 8)


def test_what_an_older_store_lacks_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        made(tmp_path / "newer", FORMAT_VERSION)
        Corpus.open(tmp_path / "newer")
        assert not caplog.text
        made(tmp_path / "older", 1)
        Corpus.open(tmp_path / "older")
        Corpus.open(tmp_path / "older")
    folder = tmp_path / "older"
    assert [record.getMessage() for record in caplog.records] == [
        f"The chips in {folder} carry no checksums, so damage may pass for data; "
        f"`geocorpus upgrade {folder}` adds them."
    ]


def test_further_processes_of_a_run_keep_silent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    older_format.say_what_it_lacks(tmp_path, 1)
    assert not caplog.text
    monkeypatch.setenv("RANK", "0")
    older_format.say_what_it_lacks(tmp_path, 1)
    assert "carry no checksums" in caplog.text


@pytest.mark.parametrize(
    ("version", "words"), [(4, "has format 4, and this release knows 3"), ("new", "none; restore")]
)
def test_a_store_of_a_later_release_is_refused(tmp_path: Path, version: object, words: str) -> None:
    made(tmp_path, FORMAT_VERSION, (CLIMATE,))
    path = tmp_path / "corpus.zarr" / "zarr.json"
    data = json.loads(path.read_text())
    data["attributes"]["format_version"] = version
    path.write_text(json.dumps(data))
    with pytest.raises(Fatal, match=words):
        Corpus.open(tmp_path)
