"""The seal of a finished corpus: digests of all its small parts in one file, which `finalize` writes last.

Shards are not among them: the ledger's entries hold their digests, and the entries are sealed.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pipeline import durable
from pipeline.corpus_folder import EXTENSIONS, LOCATIONS, MANIFEST, PROVENANCE, SOURCES, STATISTICS
from pipeline.errors import Fatal
from pipeline.ledger import Ledger
from pipeline.metadata import metadata_key
from pipeline.store import METADATA, Store, Unreadable

SEAL = "seal.json"
# What a finished corpus keeps as it is; of these, those that are there when it is sealed. The settings and the place of
# the store are not among them: a person may edit them, and a copy elsewhere has its own.
_FILES = (
    MANIFEST, "manifest.digest.json", STATISTICS, LOCATIONS, "allocation.json", "sample.json", "regions.parquet",
    "rejected.parquet", PROVENANCE, f"{SOURCES}/*.parquet", f"{EXTENSIONS}/*/*.parquet", f"{EXTENSIONS}/*/*.json",
)  # fmt: skip
# 64 bits of an entry's digest: no damage gives the same, and a million chips need less than a megabyte.
_ENTRY_DIGITS = 16
_AT_ONCE = 16

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Seal:
    """SHA-256 as hex digits, by name.

    `files` are those of the folder, `objects` the metadata of the store and the chunks of the arrays that are no layers
    (None for a chunk that has no object). `entries` has the first 16 digits of each ledger entry by layer and shard,
    None for a shard that was not finished.
    """

    files: Mapping[str, str]
    objects: Mapping[str, str | None]
    entries: Mapping[str, Sequence[str | None]]

    @classmethod
    def of(cls, folder: Path, store: Store, ledger: Ledger, layers: Iterable[str], shards: int) -> Seal:
        """The seal of a corpus as it is now. Raises `Fatal` and `Transient` as reading the store does."""
        names = sorted(layers)
        lists = _each(lambda name: entry_digests(ledger, name, shards), names)
        return cls(
            _digests(folder, (path.relative_to(folder).as_posix() for item in _FILES for path in folder.glob(item))),
            object_digests(store, small_keys(store)),
            dict(zip(names, lists, strict=True)),
        )

    @classmethod
    def read(cls, folder: Path) -> Seal | None:
        """The seal in a corpus folder; None for a corpus that is not sealed. Raises `Fatal` for a damaged one."""
        path = folder / SEAL
        try:
            content = path.read_bytes()
            data = json.loads(content)
            seal = cls(data["files"], data["objects"], data["entries"])
            intact = seal.content == content
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            intact = False
        if not intact:
            raise Fatal(f"{path} is damaged; `geocorpus verify {folder} --repair` checks everything and seals it anew.")
        return seal

    @property
    def content(self) -> bytes:
        """The bytes of the file: JSON that ends with the digest of the JSON without it."""
        plain = asdict(self)
        return _text(plain | {"seal": hashlib.sha256(_text(plain)).hexdigest()})

    def write(self, folder: Path) -> None:
        """Publish it; raises `Fatal` when the folder cannot be written to."""
        durable.write_bytes(folder / SEAL, self.content)

    def changed_files(self, folder: Path) -> list[str]:
        """The sealed files that are lost or are not what they were."""
        return [name for name, digest in self.files.items() if _digest(folder / name) != digest]

    def changed_objects(self, store: Store, keys: Iterable[str]) -> list[str]:
        """Those of the sealed `keys` whose objects are lost or are not what they were."""
        return [key for key, digest in object_digests(store, keys).items() if self.objects[key] != digest]

    def has_entry(self, name: str, shard: int, content: bytes) -> bool:
        """Whether these are the bytes of a sealed entry; true for an entry that was not sealed."""
        sealed = self.entries.get(name, ())
        digest = sealed[shard] if shard < len(sealed) else None
        return digest is None or digest == _entry_digest(content)


def remove(folder: Path) -> None:
    """Break the seal, before a finished corpus is changed. Raises `Fatal` when it cannot be removed."""
    durable.remove(folder / SEAL)


def check_opening(folder: Path, store: Store) -> None:
    """Raise `Fatal` with the name of a small part that is not as it was sealed; does nothing without a seal.

    Of a bucket only the metadata is compared: every object costs a request.
    """
    seal = Seal.read(folder)
    if seal is None:
        return
    keys = [key for key in seal.objects if store.folder or key.endswith(METADATA)]
    changed = [str(folder / name) for name in seal.changed_files(folder)]
    changed += [f"{store.url}/{key}" for key in seal.changed_objects(store, keys)]
    _refuse(folder, seal, changed)


def check_entries(folder: Path, ledger: Ledger, name: str) -> None:
    """Raise `Fatal` with the name of a ledger entry of a layer that is not as it was sealed; needs no seal."""
    seal = Seal.read(folder)
    sealed = seal.entries.get(name, ()) if seal else ()
    if seal and sealed:
        pairs = zip(sealed, entry_digests(ledger, name, len(sealed)), strict=True)
        wrong = [index for index, (before, now) in enumerate(pairs) if before is not None and now != before]
        _refuse(folder, seal, [str(ledger.path(name, index)) for index in wrong])


def _refuse(folder: Path, seal: Seal, changed: Sequence[str]) -> None:
    """Raise `Fatal` if something has changed, unless the seal was broken meanwhile by a run that changes things."""
    if changed and Seal.read(folder) == seal:
        raise Fatal(
            f"{changed[0]} is lost or damaged: it is not what `geocorpus finalize` has sealed; "
            f"`geocorpus verify {folder}` says what mends it."
        )


def small_keys(store: Store) -> list[str]:
    """The keys of the metadata of a store and its arrays, and of the chunks of the arrays that are no layers."""
    names = store.names()
    found = _each(lambda name: store.get(metadata_key(name)), names)
    keys = [METADATA]
    for name, metadata in zip(names, found, strict=True):
        if metadata is not None:
            keys += [metadata_key(name), *_chunks(name, json.loads(metadata))]
    return keys


def _chunks(name: str, metadata: Mapping[str, Any]) -> Iterator[str]:
    """The keys of an array's objects, unless it is a layer."""
    if "geocorpus" in metadata["attributes"]:
        return
    grid = zip(metadata["shape"], metadata["chunk_grid"]["configuration"]["chunk_shape"], strict=True)
    for index in itertools.product(*(range(math.ceil(length / step)) for length, step in grid)):
        yield "/".join([name, "c", *map(str, index)])


def object_digests(store: Store, keys: Iterable[str]) -> dict[str, str | None]:
    """The digests of objects, several read at a time; None for one that there is not."""
    wanted = list(keys)
    digests = _each(partial(_object_digest, store), wanted)
    return {key: digest and digest.removeprefix("sha256:") for key, digest in zip(wanted, digests, strict=True)}


def _object_digest(store: Store, key: str) -> str | None:
    try:
        return store.digest(key)
    except Unreadable:
        return "unreadable"


def entry_digests(ledger: Ledger, name: str, shards: int) -> list[str | None]:
    """The digest of each entry of a layer, shortened; None for a shard without one."""
    return [_entry_digest_at(ledger.path(name, index)) for index in range(shards)]


def _entry_digest_at(path: Path) -> str | None:
    try:
        return _entry_digest(path.read_bytes())
    except OSError:
        return None


def _entry_digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_ENTRY_DIGITS]


def _digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    return {name: digest for name in sorted(names) if (digest := _digest(folder / name)) is not None}


def _digest(path: Path) -> str | None:
    try:
        return durable.file_digest(path)
    except OSError:
        return None


def _text(content: Mapping[str, Any]) -> bytes:
    return f"{json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False)}\n".encode()


def _each(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(work, items))
