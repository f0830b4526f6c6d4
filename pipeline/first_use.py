"""Before a shard is first used: is its object the one that the ledger's entry is of? And what readers say of shards."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import Fatal
from pipeline.ledger import ABSENT, Mark
from pipeline.shard_object import CRC_BYTES, index_crc32c, tail_bytes
from pipeline.sharding import crc32c
from pipeline.store import Store, digest_of


def refuse_other_object(store: Store, key: str, mark: Mark, shard_rows: int, *, sharded: bool, folder: Path) -> None:
    """Raise `Fatal` where the object at `key` is another than that of `mark`: exchanged, or of another layer.

    A large object is known by its index, read alone; one that is not `sharded` by its digest. Entries of older releases
    know no index: their large objects pass. What is inside of an object, its own checksums tell.
    """
    what = _difference(store, key, mark, shard_rows, sharded)
    if what:
        raise other_object(folder, mark.modality, mark.shard, what)


def _difference(store: Store, key: str, mark: Mark, shard_rows: int, sharded: bool) -> str | None:
    if mark.digest == ABSENT:
        return "nothing should be stored" if store.tail(key, 1) is not None else None
    if not sharded:
        return None if _has_digest(store.get(key) or b"", mark.digest) else "its digest is another one"
    if mark.index_crc32c is None:
        return None
    tail = store.tail(key, tail_bytes(shard_rows)) or b""
    return "its index is another one" if index_crc32c(tail, shard_rows) != mark.index_crc32c else None


def _has_digest(content: bytes, digest: str) -> bool:
    """Whether a chunk has the digest, or had it before an upgrade that the ledger does not know yet."""
    chunk = content[:-CRC_BYTES]
    return digest == digest_of(content) or (content == chunk + crc32c(chunk) and digest == digest_of(chunk))


def other_object(folder: Path, name: str, shard: int, what: str) -> Fatal:
    """A shard's object that is not the one in the ledger; `what` tells them apart."""
    return Fatal(
        f"shard {shard} of {name!r} in {folder} is not what the ledger says ({what}); run `geocorpus verify {folder}`."
    )


def damaged(folder: Path, name: str, shard: int, what: str) -> Fatal:
    """A shard whose bytes cannot be what was written; `what` says where."""
    return Fatal(f"shard {shard} of {name!r} in {folder} is damaged ({what}); run `geocorpus verify {folder}`.")


def unfinished(folder: Path, name: str, shard: int) -> Fatal:
    """A shard that would read as nodata."""
    return Fatal(f"shard {shard} of {name!r} in {folder} is not finished; run `geocorpus export {folder}`.")
