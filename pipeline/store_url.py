"""The store that a path or a URL names: a folder, or a bucket."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from pipeline.errors import Fatal
from pipeline.store import FolderStore, Store


def store_at(url: str) -> Store:
    """The store that a path or a URL names: a folder, `file://`, `s3://bucket/key` or `gs://bucket/key`.

    No request is made yet. Raises `Fatal` for any other kind of URL, and for one that holds credentials.
    """
    parts = urlsplit(url)
    if parts.scheme in ("", "file") or "://" not in url:
        return FolderStore(Path(parts.path if parts.scheme == "file" else url).expanduser())
    _refuse_unusable(url)
    from pipeline.bucket import BucketStore

    return BucketStore(url)


def _refuse_unusable(url: str) -> None:
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query:
        raise Fatal("a store's URL holds no credentials and no options; give those through the environment.")
    if parts.scheme not in ("s3", "gs"):
        raise Fatal(f"a store cannot be at {url!r}; give a folder, s3://bucket/prefix or gs://bucket/prefix.")
    if not parts.netloc or not parts.path.strip("/"):
        raise Fatal(f"the store {url!r} lacks a bucket or a prefix; write it as {parts.scheme}://bucket/corpus.zarr.")
