"""The benchmark's S3 service: a bucket store reads from it what lies in the folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.delayed_s3 import BUCKET, delayed_s3
from pipeline.bucket import BucketStore
from pipeline.store import FolderStore
from tests.buckets import NOTHING_ELSE


def test_a_bucket_store_reads_what_is_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in NOTHING_ELSE.items():
        monkeypatch.setenv(name, value)
    near = FolderStore(tmp_path / BUCKET / "corpus.zarr")
    content = bytes(range(256)) * 20_000
    for key in ("zarr.json", "a/c/0", "a/zarr.json", "b/c/1/0"):
        near.put(key, content)
    with delayed_s3(tmp_path, delay_s=0.001):
        far = BucketStore(f"s3://{BUCKET}/corpus.zarr")
        assert far.names() == near.names() == ["a", "b"]
        assert far.present(["a/c/0", "a/c/1"]) == {"a/c/0"}
        assert far.get("a/c/0") == content and far.get("a/c/7") is None
        assert far.end("a/c/0", 7) == near.end("a/c/0", 7) == (content[-7:], len(content))
        spans = [(3, 9), (100, 4_000_000), (4_900_000, 4_900_001)]
        assert [bytes(part) for part in far.ranges("a/c/0", spans) or []] == near.ranges("a/c/0", spans)
        views = [isinstance(part, bytes) for part in far.ranges("a/c/0", [(0, 9_000), (9_100, 20_000)]) or []]
        copies = [isinstance(part, bytes) for part in far.ranges("a/c/0", [(0, 9_000), (20_000, 20_900)]) or []]
        assert (views, copies) == ([False] * 2, [True] * 2)  # What is thrown away does not stay in memory.
