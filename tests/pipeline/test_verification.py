"""Verifying names every fault with its remedy; repairing, exporting and finalizing end with the bytes of before."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pipeline import durable
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.fault import Remedy
from pipeline.manifest import Manifest
from pipeline.modality import Modality
from pipeline.progress import Silent, Tracker
from pipeline.repair import Repair, repair
from pipeline.seal import SEAL
from pipeline.verification import Verification, verify
from tests.buckets import BUCKET, S3, service
from tests.pipeline.chips import MODALITIES, make_manifest
from tests.pipeline.damage import cut, edit_mean, edit_title, fill, flip
from tests.pipeline.test_corpus import snapshot
from tests.pipeline.test_growth import grown

KNOWN = {modality.name: modality for modality in MODALITIES}


def known(_manifest: Manifest) -> Mapping[str, Modality]:
    return KNOWN


def nothing_known(_manifest: Manifest) -> Mapping[str, Modality]:
    return {}


def found_in(folder: Path) -> Verification:
    return verify(folder, Silent())


def named(found: Verification) -> dict[str, Remedy]:
    """The remedy of each fault by what is at fault, without the folder."""
    return {fault.what.replace(f"{found.folder}/", ""): fault.remedy for fault in found.faults}


def mended(folder: Path, layers: Callable[[Manifest], Mapping[str, Modality]] = known) -> Repair:
    """Repaired, and exported and finalized again where that is what is left to do."""
    result = repair(folder, Silent(), layers)
    if not result.found.faults and not result.sealed:
        corpus = Corpus.open(folder)
        fill(corpus)
        corpus.finalize()
    return result


def swap(folder: Path, one: str, other: str) -> None:
    a, b = (folder / one).read_bytes(), (folder / other).read_bytes()
    (folder / one).write_bytes(b)
    (folder / other).write_bytes(a)


def test_a_finished_corpus_is_without_fault(folder: Path) -> None:
    progress = Tracker()
    found = verify(folder, progress)
    assert (found.faults, found.notes, found.finished, found.unfinished) == ([], [], 9, 0)
    assert progress.snapshot().done == progress.snapshot().total == 9


def test_the_whole_list_of_faults_is_told_each_with_its_remedy(folder: Path) -> None:
    before = snapshot(folder)
    store = folder / "corpus.zarr"
    flip(store / "optical/c/0/0/0/0")
    shutil.rmtree(store / "optical/c/1")
    (folder / "ledger/cover/00000.json").unlink()
    edit_mean(folder / "ledger/cover/00001.json")
    cut(folder / "statistics.json")
    flip(store / "longitude/c/0")
    edit_title(store / "zarr.json")
    (store / "climate/zarr.json").unlink()
    flip(folder / "manifest.digest.json", 200)
    found = found_in(folder)
    objects = {f"corpus.zarr/{key}": Remedy.REWRITE for key in ("longitude/c/0", "zarr.json", "climate/zarr.json")}
    assert named(found) == objects | {
        "optical shard 0 (corpus.zarr/optical/c/0/0/0/0)": Remedy.EXPORT,
        "optical shard 1 (corpus.zarr/optical/c/1/0/0/0)": Remedy.EXPORT,
        "ledger/cover/00000.json": Remedy.EXPORT, "ledger/cover/00001.json": Remedy.EXPORT,
        "statistics.json": Remedy.REWRITE, "manifest.digest.json": Remedy.REWRITE,
    }  # fmt: skip
    assert all(str(fault).count(".") >= 1 and "\n" not in str(fault) for fault in found.faults)
    result = mended(folder)
    assert len(result.mended) == 9 and not result.found.faults
    assert snapshot(folder) == before


@pytest.mark.parametrize(
    "name",
    [
        "corpus.zarr/zarr.json", "corpus.zarr/optical/zarr.json", "corpus.zarr/band_cover/zarr.json",
        "corpus.zarr/chip/c/0", "corpus.zarr/time/zarr.json", "corpus.zarr/band_optical/c/0", "statistics.json",
        "manifest.digest.json", SEAL, "ledger/climate/00002.json", "corpus.zarr/climate/c/1/0",
        "corpus.zarr/cover/c/2/0/0/0",
    ],
)  # fmt: skip
@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
def test_one_fault_is_mended_to_the_bytes_of_before(folder: Path, name: str, damage: Callable[[Path], None]) -> None:
    before = snapshot(folder)
    damage(folder / name)
    found = found_in(folder)
    if name != SEAL or damage is not Path.unlink:  # a corpus may be without a seal: that is a note
        assert len(found.faults) == 1 and any(name in what for what in named(found)), named(found)
    assert not mended(folder).found.faults
    assert snapshot(folder) == before
    assert found_in(folder).faults == []


def test_what_can_be_computed_is_mended_at_once_and_sealed(folder: Path) -> None:
    for name in ("statistics.json", "corpus.zarr/zarr.json", "corpus.zarr/latitude/c/0"):
        (folder / name).unlink()
    assert repair(folder, Silent(), nothing_known).sealed
    assert found_in(folder).faults == [] and found_in(folder).seal is not None


def test_metadata_without_any_copy_is_said_to_need_one(folder: Path) -> None:
    (folder / "corpus.zarr/zarr.json").unlink()
    (folder / "corpus.zarr/optical/zarr.json").unlink()
    result = repair(folder, Silent(), nothing_known)
    assert [fault.remedy for fault in result.found.faults] == [Remedy.COPY] * len(result.found.faults)
    assert any("optical/zarr.json" in fault.what for fault in result.found.faults)
    assert not mended(folder).found.faults  # the settings know the layer


@pytest.mark.parametrize("name", ["manifest.parquet"])
def test_what_only_a_copy_mends_stays_and_is_told(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    cut(folder / name)
    assert named(found_in(folder)) == {name: Remedy.COPY}
    repair(folder, Silent(), known)
    assert named(found_in(folder)) == {name: Remedy.COPY}
    (folder / name).write_bytes(content)
    assert found_in(folder).faults == []


def test_swapped_shards_and_entries_are_named(folder: Path) -> None:
    swap(folder, "corpus.zarr/optical/c/0/0/0/0", "corpus.zarr/optical/c/1/0/0/0")
    swap(folder, "ledger/cover/00000.json", "ledger/cover/00001.json")
    assert len(found_in(folder).faults) == 4
    (folder / SEAL).unlink()
    assert len(found_in(folder).faults) == 4
    fill_again = mended(folder)
    assert len(fill_again.mended) == 4 and found_in(folder).faults == []


UNSEALED = [
    ("corpus.zarr/longitude/c/0", flip), ("corpus.zarr/split/c/0", Path.unlink), ("corpus.zarr/zarr.json", edit_title),
    ("corpus.zarr/zarr.json", Path.unlink), ("corpus.zarr/cover/zarr.json", cut), ("statistics.json", cut),
    ("corpus.zarr/level/zarr.json", Path.unlink), ("ledger/cover/00001.json", cut),
    ("corpus.zarr/climate/c/1/0", flip),
]  # fmt: skip


@pytest.mark.parametrize(("name", "damage"), UNSEALED)
def test_a_corpus_without_a_seal_is_looked_at_as_far_as_possible(
    folder: Path, name: str, damage: Callable[[Path], None]
) -> None:
    before = snapshot(folder)
    (folder / SEAL).unlink()
    assert found_in(folder).faults == [] and "no seal" in found_in(folder).notes[0]
    damage(folder / name)
    assert any(name in what for what in named(found_in(folder))), named(found_in(folder))
    assert not mended(folder).found.faults
    assert snapshot(folder) == before


def test_files_of_others_are_no_faults(folder: Path) -> None:
    for name in ("00000 (copy).json", ".DS_Store", "Thumbs.db", "notes.json"):
        shutil.copy(folder / "ledger/cover/00000.json", folder / "ledger/cover" / name)
    for name in (".DS_Store", "Thumbs.db"):
        shutil.copy(folder / "ledger/cover/00000.json", folder / "corpus.zarr" / name)
        shutil.copy(folder / "ledger/cover/00000.json", folder / "ledger" / name)
    found = found_in(folder)
    assert found.faults == [] and found.finished == 9
    assert "4 files in the ledger are no entries" in found.notes[0]
    corpus = Corpus.open(folder)
    assert corpus.missing() == {} and corpus.statistics("cover")


def test_what_an_export_has_not_finished_is_no_fault(folder: Path) -> None:
    corpus = Corpus.open(folder)
    corpus.unseal()
    corpus.ledger.path("optical", 2).unlink()
    found = found_in(folder)
    assert (found.faults, found.finished, found.unfinished) == ([], 8, 1)
    before = snapshot(folder)
    assert not repair(folder, Silent(), known).sealed
    assert snapshot(folder) == before


def test_a_layer_cut_short_while_it_was_laid_out_is_laid_out_again(folder: Path) -> None:
    corpus = Corpus.open(folder)
    corpus.unseal()
    for name in ("optical", "band_optical"):
        (folder / "corpus.zarr" / name / "zarr.json").unlink()
    shutil.rmtree(folder / "corpus.zarr/optical")
    shutil.rmtree(folder / "ledger/optical")
    (folder / "corpus.zarr/optical").mkdir()
    assert set(Corpus.open(folder).modalities) == {"climate", "cover"}
    again = Corpus.create(folder, MODALITIES, shard_rows=8)
    fill(again)
    assert again.missing() == {}


def test_a_folder_without_a_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="there is no corpus in"):
        found_in(tmp_path)


def test_the_digest_beside_the_manifest_is_not_believed_without_a_seal(folder: Path) -> None:
    (folder / SEAL).unlink()
    kept = folder / "manifest.digest.json"
    data = json.loads(kept.read_text())
    content = kept.read_bytes()
    durable.write_json(kept, data | {"digest": "0" * 64})
    assert named(found_in(folder)) == {"manifest.digest.json": Remedy.REWRITE}
    assert not mended(folder).found.faults and kept.read_bytes() == content


@pytest.fixture(scope="module")
def s3() -> S3:
    with service() as running:
        yield running


def test_a_corpus_in_a_bucket_is_verified_and_mended_alike(s3: S3, tmp_path: Path) -> None:
    make_manifest(tmp_path, 21, 16)
    url = f"s3://{BUCKET}/mended/corpus.zarr"
    corpus = Corpus.create(tmp_path, MODALITIES, shard_rows=8, store_url=url)
    fill(corpus)
    corpus.finalize()
    before = s3.objects("mended/corpus.zarr")
    assert found_in(tmp_path).faults == []
    for key in ("optical/c/1/0/0/0", "latitude/c/0", "zarr.json", "cover/zarr.json"):
        content = bytearray(before[key])
        content[len(content) // 2] ^= 4
        s3.put(f"mended/corpus.zarr/{key}", bytes(content))
    assert len(found_in(tmp_path).faults) == 4
    assert not mended(tmp_path).found.faults
    assert s3.objects("mended/corpus.zarr") == before


@pytest.mark.parametrize("name", ["corpus.zarr/zarr.json", "corpus.zarr/longitude/c/0", "corpus.zarr/cover/c/1/0/0/0"])
def test_a_store_of_the_older_format_is_mended_in_its_own(tmp_path: Path, name: str) -> None:
    make_manifest(tmp_path, 21, 16)
    corpus = Corpus.create(tmp_path, MODALITIES, shard_rows=8, format_version=1)
    fill(corpus)
    corpus.finalize()
    before = snapshot(tmp_path)
    assert found_in(tmp_path).faults == [] and "geocorpus upgrade" in found_in(tmp_path).notes[0]
    (tmp_path / name).unlink()
    assert not mended(tmp_path).found.faults
    assert snapshot(tmp_path) == before


def test_a_corpus_that_grows_is_without_fault_all_along(folder: Path) -> None:
    for step in ("manifest", "store", "shards", "seal"):
        if step == "manifest":
            grown(folder, 21, 40)
        elif step == "store":
            corpus = Corpus.create(folder, MODALITIES, shard_rows=8)
        elif step == "shards":
            fill(corpus)
        else:
            corpus.finalize()
        found = found_in(folder)
        assert found.faults == [] and (found.seal is not None) == (step == "seal"), step
    assert (found.finished, found.unfinished) == (15, 0)
    before = snapshot(folder)
    for name in ("zarr.json", "latitude/c/0", "cover/zarr.json"):
        (folder / "corpus.zarr" / name).unlink()
    assert len(found_in(folder).faults) == 3
    assert not mended(folder).found.faults and snapshot(folder) == before


def test_a_manifest_of_an_earlier_day_does_not_spoil_the_store(folder: Path, tmp_path: Path) -> None:
    """The store's root is as it was sealed, so nothing of it is written anew from the wrong manifest."""
    shutil.copytree(folder, tmp_path / "earlier")
    grown(folder, 21, 40)
    corpus = Corpus.create(folder, MODALITIES, shard_rows=8)
    fill(corpus)
    corpus.finalize()
    before = snapshot(folder)
    for name in ("manifest.parquet", "manifest.digest.json"):
        shutil.copy(tmp_path / "earlier" / name, folder / name)
    found = repair(folder, Silent(), known).found
    assert "manifest.parquet" in named(found) and not found.bad_keys
    for name in ("manifest.parquet", "manifest.digest.json"):
        (folder / name).write_bytes(before[name])
    assert not found_in(folder).faults and snapshot(folder) == before


def test_a_store_that_is_elsewhere_is_not_made_anew(folder: Path) -> None:
    (folder / "corpus.zarr").rename(folder / "elsewhere.zarr")
    before = snapshot(folder)
    assert named(found_in(folder)) == {"corpus.zarr": Remedy.COPY}
    assert named(repair(folder, Silent(), known).found) == {"corpus.zarr": Remedy.COPY}
    assert snapshot(folder) == before
