"""One store, one corpus: a second folder is refused before it changes anything, and the rightful one goes on."""

from __future__ import annotations

import json
import shutil
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zarr

from pipeline import durable, store_owner
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.modality import Band, Modality
from pipeline.progress import Silent
from pipeline.repair import repair
from pipeline.store_owner import OWNER, OWNER_KEY, Owner
from pipeline.store_url import store_at
from pipeline.upgrade import upgrade
from pipeline.verification import verify
from tests.buckets import BUCKET, S3, service
from tests.pipeline.chips import COVER, MODALITIES, make_block, make_manifest
from tests.pipeline.older import made
from tests.pipeline.test_growth import files, grown

SIZE_PX = 16
NOVEL = Modality(name="novel", title="Novel", bands=(Band("n"),), dtype="int16", nodata=-1)


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with service() as running:
        yield running


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store outside of the corpus folders."""
    if request.param == "folder":
        return str(tmp_path / "elsewhere" / "corpus.zarr")
    request.getfixturevalue("s3")
    return f"s3://{BUCKET}/{tmp_path.name}/corpus.zarr"


def make(folder: Path, place: str | None = None) -> Corpus:
    if not (folder / "manifest.parquet").exists():
        make_manifest(folder, 21, SIZE_PX)
    return Corpus.create(folder, MODALITIES, shard_rows=8, store_url=place)


def fill(corpus: Corpus) -> None:
    for shard in corpus.shards:
        corpus.write(shard, COVER.name, make_block(COVER, len(shard), SIZE_PX, shard.index), {})


def digests(corpus: Corpus) -> dict[str, str | None]:
    keys = ["zarr.json", OWNER_KEY, *(corpus.object_key(COVER.name, shard) for shard in corpus.shards)]
    return {key: corpus.store.digest(key) for key in keys}


@pytest.mark.parametrize("wreak", [fill, Corpus.finalize, lambda corpus: corpus.add(NOVEL)])
def test_a_second_folder_is_refused_before_it_changes_anything(
    tmp_path: Path, place: str, wreak: Callable[[Corpus], None]
) -> None:
    """Also one of the same manifest, which the store cannot tell from its own."""
    first = make(tmp_path / "first", place)
    fill(first)
    before = digests(first)
    with pytest.raises(Fatal, match=f"belongs to the corpus in {tmp_path / 'first'} on .*corpus.store") as error:
        make(tmp_path / "second", place)
    assert "\n" not in str(error.value) and OWNER_KEY in str(error.value)
    durable.write_json(tmp_path / "second" / "store.json", {"store": place})
    with pytest.raises(Fatal, match="belongs to the corpus in"):
        wreak(Corpus.open(tmp_path / "second"))
    assert digests(first) == before
    fill(make(tmp_path / "first", place))


def test_the_store_inside_a_corpus_folder_is_its_own(tmp_path: Path) -> None:
    """It says so by its place: no object in it, none in the folder, and the whole can be moved and copied."""
    fill(make(tmp_path / "first"))
    assert not (tmp_path / "first" / OWNER).exists() and not (tmp_path / "first" / "corpus.zarr" / OWNER_KEY).exists()
    with pytest.raises(Fatal, match=f"belongs to the corpus in {tmp_path / 'first'};"):
        make(tmp_path / "second", str(tmp_path / "first" / "corpus.zarr"))
    shutil.copytree(tmp_path / "first", tmp_path / "copy")
    (tmp_path / "first").rename(tmp_path / "moved")
    for name in ("copy", "moved"):
        fill(make(tmp_path / name))


def test_a_link_to_another_disk_is_no_place_inside(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "disk" / "a.zarr").mkdir(parents=True)
    (tmp_path / "first" / "corpus.zarr").symlink_to(tmp_path / "disk" / "a.zarr")
    fill(make(tmp_path / "first"))
    with pytest.raises(Fatal, match=f"belongs to the corpus in {tmp_path / 'first'} on"):
        make(tmp_path / "second", str(tmp_path / "disk" / "a.zarr"))


def test_of_a_folder_and_its_copy_the_one_that_writes_first_goes_on(tmp_path: Path, place: str) -> None:
    make(tmp_path / "first", place)
    shutil.copytree(tmp_path / "first", tmp_path / "copy")
    fill(make(tmp_path / "copy"))
    with pytest.raises(Fatal, match=f"another copy of this one, the corpus in {tmp_path / 'copy'} on"):
        make(tmp_path / "first")


def test_of_a_folder_and_its_copy_the_one_that_upgrades_goes_on(tmp_path: Path, place: str) -> None:
    """The ledger of the other one knows the older objects: nothing there is damaged, and nothing is marked missing."""
    made(tmp_path / "first", 1, place).finalize()
    shutil.copytree(tmp_path / "first", tmp_path / "copy")
    upgrade(Corpus.open(tmp_path / "copy"), Silent())
    found = verify(tmp_path / "first", Silent())
    assert any("may be no damage" in note and str(tmp_path / "copy") in note for note in found.notes)
    before = files(tmp_path / "first")
    with pytest.raises(Fatal, match=f"the corpus in {tmp_path / 'copy'} on"):
        repair(tmp_path / "first", Silent(), lambda _: {})
    assert files(tmp_path / "first") == before
    assert not verify(tmp_path / "copy", Silent()).faults


def test_of_a_folder_and_its_copy_that_has_grown_nothing_is_mended(tmp_path: Path, place: str) -> None:
    """The root of the store names another manifest, which is no damage."""
    fill(make(tmp_path / "first", place))
    shutil.copytree(tmp_path / "first", tmp_path / "copy")
    grown(tmp_path / "copy")
    longer = make(tmp_path / "copy", place)
    before = digests(longer)
    with pytest.raises(Fatal, match=f"the corpus in {tmp_path / 'copy'} on"):
        repair(tmp_path / "first", Silent(), lambda _: {})
    assert digests(longer) == before


def test_a_folder_that_was_moved_keeps_its_store(tmp_path: Path, place: str) -> None:
    make(tmp_path / "first", place)
    (tmp_path / "first").rename(tmp_path / "moved")
    fill(make(tmp_path / "moved"))


def test_a_store_of_an_older_corpus_gets_its_owner_at_the_next_export(tmp_path: Path, place: str) -> None:
    corpus = make(tmp_path / "first", place)
    corpus.store.delete(OWNER_KEY)
    (tmp_path / "first" / OWNER).unlink()
    fill(Corpus.open(tmp_path / "first"))
    make(tmp_path / "first")
    with pytest.raises(Fatal, match="belongs to the corpus in"):
        make(tmp_path / "second", place)


@pytest.mark.parametrize("after", range(3))
def test_a_claim_that_was_killed_locks_nobody_out(
    tmp_path: Path, place: str, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the folder, the store, or the folder again knows the new token."""
    make(tmp_path / "first", place)
    steps = iter(range(3))

    def killed(work: Callable[..., object]) -> Callable[..., object]:
        def step(*arguments: object) -> object:
            if next(steps) == after:
                raise KeyboardInterrupt
            return work(*arguments)

        return step

    store = store_at(place)
    monkeypatch.setattr(durable, "write_json", killed(durable.write_json))
    monkeypatch.setattr(store, "put", killed(store.put))
    with pytest.raises(KeyboardInterrupt):
        store_owner.claim(tmp_path / "first", store)
    monkeypatch.undo()
    if place.startswith("s3"):
        store = store_at(place)
    store_owner.claim(tmp_path / "first", store)
    assert json.loads((tmp_path / "first" / OWNER).read_text())["tokens"] == [Owner.of(store).token]  # type: ignore[union-attr]


def test_of_many_that_claim_a_new_store_at_once_one_has_it(tmp_path: Path, place: str) -> None:
    refused: list[str] = []

    def claim(index: int) -> None:
        try:
            store_owner.claim(tmp_path / f"c{index}", store_at(place))
        except Fatal as error:
            refused.append(str(error))

    threads = [threading.Thread(target=claim, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 7 and all("belongs to the corpus in" in text for text in refused)
    assert len(list(tmp_path.glob(f"c*/{OWNER}"))) == 1


def test_readers_are_not_warned_of_it(tmp_path: Path) -> None:
    corpus = make(tmp_path / "first", str(tmp_path / "elsewhere" / "corpus.zarr"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(zarr.open_group(corpus.store.zarr(read_only=True), mode="r").members())) > len(MODALITIES)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"token": 1}'])
def test_a_damaged_owner_is_named(tmp_path: Path, place: str, content: bytes) -> None:
    corpus = make(tmp_path / "first", place)
    corpus.store.put(OWNER_KEY, content)
    with pytest.raises(Fatal, match=f"{OWNER_KEY} is damaged; delete it"):
        make(tmp_path / "first")
    corpus.store.delete(OWNER_KEY)
    (tmp_path / "first" / OWNER).write_bytes(content)
    with pytest.raises(Fatal, match=OWNER):
        make(tmp_path / "first")
