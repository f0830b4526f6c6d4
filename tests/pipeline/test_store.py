"""A store in a bucket holds the same objects as one in a folder, and says in one sentence why it cannot be used."""

from __future__ import annotations

import copy
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pipeline import bucket
from pipeline.compression import FORMAT_VERSION
from pipeline.corpus import Corpus
from pipeline.corpus_folder import STORE
from pipeline.errors import Fatal, Transient
from pipeline.modality import Band, Modality
from pipeline.progress import Silent
from pipeline.store_owner import OWNER, OWNER_KEY
from pipeline.store_url import store_at
from pipeline.upgrade import upgrade
from tests.buckets import BUCKET, KEYS, S3, service
from tests.pipeline import older
from tests.pipeline.chips import COVER, MODALITIES, OPTICAL, make_block, make_manifest

SIZE_PX = 16


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with service() as running:
        yield running


@pytest.fixture
def url(request: pytest.FixtureRequest) -> str:
    """A place of the test's own."""
    return f"{getattr(request, 'param', 's3')}://{BUCKET}/{request.node.originalname}/corpus.zarr"


both_clouds = pytest.mark.parametrize("url", ["s3", "gs"], indirect=True)


def prefix_of(url: str) -> str:
    return url.split(f"://{BUCKET}/")[1]


@pytest.fixture(autouse=True)
def empty(s3: S3) -> None:
    """Both clouds' tests use the same names."""
    for key in s3.keys(""):
        s3.client.delete_object(Bucket=BUCKET, Key=key)


def fill(corpus: Corpus, modalities: tuple[Modality, ...] = MODALITIES) -> None:
    """Legal values everywhere, and one shard without any."""
    for number, modality in enumerate(modalities):
        for shard in corpus.shards:
            block = make_block(modality, len(shard), SIZE_PX, seed=100 * number + shard.index)
            if modality == OPTICAL and shard.index == 2:
                block[:] = modality.fill
            corpus.write(shard, modality.name, block, {})


def make(folder: Path, url: str | None = None) -> Corpus:
    make_manifest(folder, 21, SIZE_PX)
    return Corpus.create(folder, MODALITIES, shard_rows=8, store_url=url)


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@both_clouds
def test_the_bucket_and_the_folder_hold_the_same(s3: S3, url: str, tmp_path: Path) -> None:
    for name, place in (("local", None), ("remote", url)):
        corpus = make(tmp_path / name, place)
        fill(corpus)
        corpus.finalize()
    local, remote = files_below(tmp_path / "local"), files_below(tmp_path / "remote")
    stored = {name: local.pop(name) for name in list(local) if name.startswith(f"{STORE}/")}
    assert s3.objects(prefix_of(url)) == {name.removeprefix(f"{STORE}/"): content for name, content in stored.items()}
    assert OWNER in remote and OWNER not in local and remote.pop(OWNER)
    assert remote.pop("store.json").decode() == f'{{\n "store": "{url}"\n}}\n'
    assert remote == local


@both_clouds
def test_reading_from_a_bucket(s3: S3, url: str, tmp_path: Path) -> None:
    fill(make(tmp_path, url))
    corpus = Corpus.open(tmp_path)
    assert corpus.modalities == {modality.name: modality for modality in MODALITIES}
    assert corpus.missing() == {} and all(corpus.verify("optical", shard) for shard in corpus.shards)
    expected = np.concatenate([make_block(COVER, len(shard), SIZE_PX, 100 + shard.index) for shard in corpus.shards])
    np.testing.assert_array_equal(corpus.read("cover", slice(0, 21)), expected)
    with xr.open_zarr(corpus.store.zarr(read_only=True), mask_and_scale=False, consolidated=False) as data:
        np.testing.assert_array_equal(data["cover"].values, expected)
    sizes = [len(content) for content in (*s3.objects(prefix_of(url)).values(), corpus.store.get(OWNER_KEY) or b"")]
    assert corpus.store.size_bytes() == sum(sizes)
    assert copy.copy(corpus.store).present(["zarr.json", "absent"]) == {"zarr.json"}


def test_a_store_on_another_disk(tmp_path: Path) -> None:
    corpus = make(tmp_path / "c", str(tmp_path / "big" / "corpus.zarr"))
    fill(corpus)
    assert not (tmp_path / "c" / STORE).exists()
    assert Corpus.open(tmp_path / "c").missing() == {}
    assert corpus.object_path("cover", corpus.shards[0]).is_relative_to(tmp_path / "big")


def test_the_place_of_a_store_does_not_change(s3: S3, url: str, tmp_path: Path) -> None:
    make(tmp_path / "remote", url)
    make(tmp_path / "local")
    for name, other in (("remote", f"s3://{BUCKET}/other"), ("remote", str(tmp_path / "x")), ("local", url)):
        with pytest.raises(Fatal, match=r"has its store at .*, not at"):
            Corpus.create(tmp_path / name, MODALITIES, 8, other)
    assert s3.objects("other") == {}
    assert Corpus.create(tmp_path / "remote", MODALITIES, 8).store.url == url
    assert Corpus.create(tmp_path / "local", MODALITIES, 8, str(tmp_path / "local" / STORE)).store.url.endswith(STORE)
    assert not (tmp_path / "local" / "store.json").exists()


def test_the_store_of_another_manifest_is_refused(s3: S3, url: str, tmp_path: Path) -> None:
    make(tmp_path / "one", url)
    before = s3.objects(prefix_of(url))
    make_manifest(tmp_path / "other", 20, SIZE_PX)
    with pytest.raises(Fatal, match="another manifest"):
        Corpus.create(tmp_path / "other", MODALITIES, 8, url)
    assert s3.objects(prefix_of(url)) == before


def test_a_modality_added_later_touches_no_object(s3: S3, url: str, tmp_path: Path) -> None:
    fill(make(tmp_path, url))
    before = s3.objects(prefix_of(url))
    novel = Modality(name="novel", title="Novel", bands=(Band("n"),), dtype="int16", nodata=-1)
    fill(Corpus.create(tmp_path, [novel], 8), (novel,))
    after = s3.objects(prefix_of(url))
    assert {key: after[key] for key in before} == before
    assert "novel/c/0/0/0/0" in after


def test_damage_and_loss_are_found(s3: S3, url: str, tmp_path: Path) -> None:
    corpus = make(tmp_path, url)
    fill(corpus)
    key = f"{prefix_of(url)}/{corpus.object_key('cover', corpus.shards[1])}"
    content = bytearray(s3.get(key))
    content[len(content) // 2] ^= 1
    s3.put(key, bytes(content))
    assert [corpus.verify("cover", shard) for shard in corpus.shards] == [True, False, True]
    s3.client.delete_object(Bucket=BUCKET, Key=key)
    assert Corpus.open(tmp_path).missing() == {corpus.shards[1]: ("cover",)}


@both_clouds
def test_exchanged_shards_are_named(s3: S3, url: str, tmp_path: Path) -> None:
    corpus = make(tmp_path, url)
    fill(corpus)
    for name in ("optical", "climate"):
        keys = [f"{prefix_of(url)}/{corpus.object_key(name, shard)}" for shard in corpus.shards[:2]]
        for key, content in zip(keys, [s3.get(key) for key in reversed(keys)], strict=True):
            s3.put(key, content)
        with pytest.raises(Fatal, match=f"shard 0 of '{name}' in .* is not what the ledger says"):
            Corpus.open(tmp_path).read(name, slice(0, 21))


@both_clouds
def test_an_upgraded_store_is_that_of_this_release(s3: S3, url: str, tmp_path: Path) -> None:
    older.made(tmp_path / "fresh", FORMAT_VERSION).finalize()
    older.made(tmp_path / "stale", 1, url).finalize()
    older.aged(Corpus.open(tmp_path / "stale"))
    assert upgrade(Corpus.open(tmp_path / "stale"), Silent()).damaged == ()
    assert s3.objects(prefix_of(url)) == older.snapshot(tmp_path / "fresh" / STORE)
    ledgers = [older.snapshot(tmp_path / name / "ledger") for name in ("stale", "fresh")]
    assert ledgers[0] == ledgers[1]


def test_a_short_cut_is_waited_out(s3: S3, url: str, tmp_path: Path) -> None:
    corpus = make(tmp_path, url)
    s3.stop()
    threading.Timer(1.0, s3.start).start()
    fill(corpus)
    assert corpus.missing() == {}


def test_a_long_cut_is_told_and_leaves_no_mark(s3: S3, url: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(bucket._PATIENT, "max_retries", 1)
    corpus = make(tmp_path, url)
    shard = corpus.shards[0]
    block = make_block(COVER, len(shard), SIZE_PX, 0)
    s3.stop()
    try:
        with pytest.raises(Transient, match="does not answer"):
            corpus.write(shard, "cover", block, {})
        with pytest.raises(Transient, match="does not answer"):
            store_at(url).check()
    finally:
        s3.start()
    assert corpus.ledger.done("cover") == frozenset()
    corpus.write(shard, "cover", block, {})
    s3.stop()
    try:
        with pytest.raises(Transient, match="does not answer"):
            corpus.read("cover", shard.slice)
    finally:
        s3.start()


@both_clouds
def test_a_large_object_in_parts(s3: S3, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "ONE_REQUEST_BYTES", 2**20)
    monkeypatch.setattr(bucket, "_PART_BYTES", 5 * 2**20)
    content = np.random.default_rng(0).bytes(12 * 2**20)
    store = store_at(url)
    digest = store.replace("large", [content[:70], content[70:]])
    assert digest == store.digest("large") == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert s3.get(f"{prefix_of(url)}/large") == content
    assert s3.unfinished_uploads() == 0
    assert store.replace("large", []) is None and store.digest("large") is None


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("gs://no-such-bucket/corpus.zarr", "does not exist"),
        ("s3://no-such-bucket/corpus.zarr", "does not exist"),
        ("https://example.org/corpus.zarr", "give a folder, s3://"),
        ("s3://lab", "lacks a bucket or a prefix"),
        ("s3://AKIA:hidden@lab/corpus.zarr", "holds no credentials"),
    ],
)
def test_unusable_places_are_refused_before_any_work(s3: S3, tmp_path: Path, place: str, words: str) -> None:
    make_manifest(tmp_path, 5, SIZE_PX)
    before = files_below(tmp_path)
    with pytest.raises(Fatal, match=words) as refused:
        Corpus.create(tmp_path, MODALITIES, 8, place)
    assert "hidden" not in str(refused.value)
    assert files_below(tmp_path) == before


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("RefreshError: ('invalid_grant: Token has been expired or revoked.', 'a-token')", Fatal),
        ("TransportError: HTTPSConnectionPool(host='oauth2.googleapis.com', port=443): Max retries", Transient),
    ],
)
def test_a_sign_in_that_is_refused_or_cut_off(said: str, kind: type[Exception]) -> None:
    with pytest.raises(kind) as told, bucket.typed("gs://lab/c"):
        raise bucket.exceptions.UnauthenticatedError(f"External GCP credential provider: {said}")
    assert "token" not in str(told.value).lower()


def test_credentials_that_are_refused_or_absent(s3: S3, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3.refusing(), pytest.raises(Fatal, match="refuses these credentials") as refused:
        store_at(url).check()
    assert not any(secret in str(refused.value) for secret in KEYS.values())
    for name in KEYS:
        monkeypatch.delenv(name)
    with pytest.raises(Fatal, match="there are no AWS credentials"):
        store_at(url).check()
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    with pytest.raises(Fatal, match="there are no Google credentials"):
        store_at(url.replace("s3://", "gs://")).check()
