"""What is wrong with a corpus: all that is stored is compared with the digests that were kept of it."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.buffer.cpu import Buffer
from zarr.storage import MemoryStore

from pipeline import durable, growth, store_owner
from pipeline.compression import CHECKSUMS_SINCE, FORMAT_VERSION
from pipeline.coordinates import COORDINATES, PLACED_SINCE, Coordinate
from pipeline.corpus import UNDECODABLE, Corpus
from pipeline.corpus_folder import MANIFEST, PLACE, STATISTICS, no_corpus, place_of
from pipeline.errors import Fatal
from pipeline.fault import Fault, Remedy
from pipeline.ledger import ABSENT
from pipeline.manifest import DIGEST_SUFFIX, Manifest
from pipeline.metadata import metadata_key, read_metadata
from pipeline.modality import Modality
from pipeline.older_format import version_of
from pipeline.progress import Progress
from pipeline.seal import SEAL, Seal, object_digests
from pipeline.shard import Shard
from pipeline.store import METADATA, Store, Unreadable
from pipeline.upgrade import is_between

MANIFEST_DIGEST = str(Path(MANIFEST).with_suffix(DIGEST_SUFFIX))
_COMPUTED = (STATISTICS, MANIFEST_DIGEST)  # of the files of the folder, those that follow from the others
_SAME_DEGREES = 1e-9  # a tenth of a millimetre
_SHARDS_AT_ONCE, _SHARDS_A_TASK = 16, 64
_ENTRY = re.compile(r"\d{5,}\.json")
_MALFORMED = (*UNDECODABLE, KeyError, AttributeError)  # metadata may be at fault as well


@dataclass
class Verification:
    """A corpus opened without trust, and what was found.

    `corpus.modalities` are the layers whose metadata is sound; None when nothing but files can be looked at. `bad` are
    the keys of objects at fault; `finished` counts shards with an entry, `unfinished` those without.
    """

    folder: Path
    store: Store
    seal: Seal | None = None
    corpus: Corpus | None = None
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    finished: int = 0
    unfinished: int = 0

    @property
    def bad_keys(self) -> frozenset[str]:
        """Keys of the store's small objects at fault."""
        return frozenset(fault.key for fault in self.faults if fault.key)

    def fault(self, key: str, wrong: str) -> None:
        """Note an object that can be computed, once."""
        if key not in self.bad_keys:
            self.faults.append(Fault(f"{self.store.url}/{key}", wrong, Remedy.REWRITE, key=key))


def verify(folder: Path, progress: Progress) -> Verification:
    """Everything that is wrong with a corpus: small parts first, then every finished shard's object.

    Raises `Fatal` when there is no corpus in `folder`, and `Transient` when the store does not answer.
    """
    found = examine(folder)
    verify_shards(found, progress)
    return found


def examine(folder: Path) -> Verification:
    """What is wrong with a corpus apart from its shards. Raises `Fatal` when there is none."""
    found = Verification(folder, place_of(folder))
    if not (folder / MANIFEST).exists() and not found.store.exists:
        raise no_corpus(folder)
    _read_seal(found)
    _look_at_owner(found)
    lost = not found.store.exists and not found.store.names()
    if lost:
        found.faults.append(
            Fault(found.store.url, f"holds no store (if it is elsewhere, correct {PLACE})", Remedy.COPY)
        )
    else:
        _compare_sealed(found)
    manifest = _manifest(found)
    if manifest is not None and not lost:
        found.corpus = Corpus(folder, manifest, 0, found.store)
        _examine_root(found, found.corpus)
        _examine_layers(found, found.corpus)
        _examine_unsealed(found, found.corpus)
        _look_around(found, found.corpus)
    return found


def _read_seal(found: Verification) -> None:
    try:
        found.seal = Seal.read(found.folder)
    except Fatal:
        found.faults.append(Fault(str(found.folder / SEAL), "is damaged", Remedy.REWRITE))
    if found.seal is None:
        found.notes.append(
            "There is no seal: ledger entries, statistics, coordinates and metadata are looked at, but only "
            "`geocorpus finalize` keeps digests of them."
        )


def _look_at_owner(found: Verification) -> None:
    """Note a store that another corpus, or another copy of this one, has written to since."""
    try:
        store_owner.refuse_other(found.folder, found.store)
    except Fatal as error:
        found.notes.append(f"What differs may be no damage: {error}")


def _compare_sealed(found: Verification) -> None:
    if found.seal is None:
        return
    for name in found.seal.changed_files(found.folder):
        remedy = Remedy.REWRITE if name in _COMPUTED else Remedy.COPY
        found.faults.append(Fault(str(found.folder / name), _wrong((found.folder / name).exists()), remedy))
    for key, digest in object_digests(found.store, found.seal.objects).items():
        if digest != found.seal.objects[key]:
            found.fault(key, _wrong(digest is not None))


def _wrong(exists: bool) -> str:
    return "is not what was sealed" if exists else "is lost"


def _manifest(found: Verification) -> Manifest | None:
    """The manifest, with a digest that is not taken from the file beside it where that is in doubt."""
    path, beside = found.folder / MANIFEST, found.folder / MANIFEST_DIGEST
    doubtful = {fault.what for fault in found.faults}
    try:
        manifest = Manifest.counted(path) if str(beside) in doubtful else Manifest.read(path)
    except Fatal as error:
        if str(path) not in doubtful:
            found.faults.append(Fault(str(path), f"cannot be read ({error})", Remedy.COPY))
        return None
    return manifest


def _examine_root(found: Verification, corpus: Corpus) -> None:
    """Take the rows of a shard from the root's attributes, or from the layers' arrays where those are damaged."""
    attributes: Mapping[str, Any] = {}
    try:
        attributes = read_metadata(corpus.store, "")["attributes"]
    except Fatal:
        found.fault(METADATA, "is lost or damaged")
    rows = attributes.get("shard_rows")
    sound = METADATA not in found.bad_keys and isinstance(rows, int) and rows > 0
    corpus.shard_rows = rows if sound and isinstance(rows, int) else _rows_of_arrays(corpus)
    corpus.format_version = version_of(attributes, corpus.store.url) if sound else _version_of_arrays(corpus)
    if corpus.format_version < CHECKSUMS_SINCE:
        found.notes.append(f"Its chips carry no checksums; `geocorpus upgrade {found.folder}` adds them.")
    elif corpus.format_version < PLACED_SINCE:
        found.notes.append(f"Its store does not say where its chips are; `geocorpus upgrade {found.folder}` adds that.")
    digest = str(attributes.get("manifest_digest"))
    if sound and digest not in corpus.whole.lineage:
        _examine_digest(found, corpus, digest)
    corpus.manifest = (corpus.whole.at(digest) if sound else None) or corpus.whole
    # A root that is as it was sealed is right: the fault is the manifest's, and that has been told.
    if sound and found.seal is None and attributes != corpus.layout.root_attributes():
        found.fault(METADATA, "does not belong to the manifest")


def _examine_digest(found: Verification, corpus: Corpus, expected: str) -> None:
    """Find out whether the digest that is kept beside the manifest is the wrong one."""
    counted = Manifest.counted(found.folder / MANIFEST)
    if counted.digest == expected:
        found.faults.append(Fault(str(found.folder / MANIFEST_DIGEST), "is not the manifest's", Remedy.REWRITE))
        corpus.whole = counted


def _rows_of_arrays(corpus: Corpus) -> int:
    """The rows of a shard by the commonest chunk grid of the layers; 0 where none can be read."""
    rows = Counter[int]()
    for name in corpus.store.names():
        try:
            metadata = read_metadata(corpus.store, name)
            if "geocorpus" in metadata["attributes"]:
                rows[int(metadata["chunk_grid"]["configuration"]["chunk_shape"][0])] += 1
        except (Fatal, *_MALFORMED):
            continue
    return rows.most_common(1)[0][0] if rows else 0


def _version_of_arrays(corpus: Corpus) -> int:
    """The format of a store that has lost its root, by the coordinates that can be read."""
    versions = [_version_by(corpus.store, item) for item in COORDINATES]
    return max((version for version in versions if version), default=FORMAT_VERSION)


def _version_by(store: Store, item: Coordinate) -> int | None:
    """The oldest format that has a coordinate with such codecs; None where it cannot be read."""
    try:
        metadata = read_metadata(store, item.name)
        if "geocorpus" in metadata["attributes"]:  # a layer of that name, of before there was such a coordinate
            return None
        codecs = metadata["codecs"]
        return max(item.since, CHECKSUMS_SINCE if any(codec["name"] == "crc32c" for codec in codecs) else 1)
    except (Fatal, *_MALFORMED):
        return None


def _examine_layers(found: Verification, corpus: Corpus) -> None:
    """Keep the layers whose metadata is sound as the corpus's modalities."""
    sound: dict[str, Modality] = {}
    for name in sorted(_layer_names(found, corpus)):
        if metadata_key(name) in found.bad_keys:
            continue
        try:
            modality = Modality.from_attributes(read_metadata(corpus.store, name)["attributes"])
        except (Fatal, KeyError):
            found.fault(metadata_key(name), "is lost or damaged")
            continue
        if found.seal is None and not _is_as_specified(corpus, modality):
            found.fault(metadata_key(name), "does not fit its specification")
        else:
            sound[name] = modality
    corpus.__dict__["modalities"] = sound


def _layer_names(found: Verification, corpus: Corpus) -> set[str]:
    """The layers that there should be: in the seal, in the store, and in the ledger."""
    stored = {name for name in corpus.store.names() if not corpus.layout.reserves(name)}
    kept = {folder.name for folder in corpus.ledger.folder.glob("*") if corpus.ledger.done(folder.name)}
    sealed = set(found.seal.entries) if found.seal else set()
    return sealed | kept | {name for name in stored if _is_layer(corpus, name)}


def _is_layer(corpus: Corpus, name: str) -> bool:
    """Whether an array is a layer: also one with damaged metadata, but neither an array of somebody else, nor one
    whose lay-out was cut short, which `export` goes on with.
    """
    try:
        return "geocorpus" in read_metadata(corpus.store, name)["attributes"]
    except Fatal:
        return _exists(corpus.store, metadata_key(name))


def _exists(store: Store, key: str) -> bool:
    try:
        return store.get(key) is not None
    except Unreadable:
        return True


def _is_as_specified(corpus: Corpus, modality: Modality) -> bool:
    """Whether an array's metadata is what its specification makes, codecs aside, which older releases wrote too."""
    made = json.loads(bytes(corpus.layout.array_objects(modality)[metadata_key(modality.name)]))
    return _without_codecs(made) == _without_codecs(read_metadata(corpus.store, modality.name))


def _without_codecs(metadata: Mapping[str, Any]) -> dict[str, Any]:
    attributes = {key: value for key, value in metadata["attributes"].items() if key != growth.FORMER_CLASSES}
    return {**metadata, "codecs": None, "attributes": attributes}


def _examine_unsealed(found: Verification, corpus: Corpus) -> None:
    """Of a corpus without a seal: coordinates and names of bands by what follows from the manifest and the layers."""
    if found.seal is not None:
        return
    for name, objects in _expected_labels(corpus).items():
        if not _decode_equal(corpus.store, name, objects):
            for key in objects:
                found.fault(key, "is lost or not what the manifest says")
    path = corpus.folder / STATISTICS
    if path.exists():
        try:
            durable.read_object(path, "`geocorpus finalize` writes it anew")
        except Fatal:
            found.faults.append(Fault(str(path), "is damaged", Remedy.REWRITE))


def _expected_labels(corpus: Corpus) -> dict[str, dict[str, memoryview]]:
    """The objects of every coordinate and of the names of bands, by array."""
    made = dict(corpus.layout.root_objects())
    for modality in corpus.modalities.values():
        made |= corpus.layout.array_objects(modality)
    arrays: dict[str, dict[str, memoryview]] = {}
    for key, content in made.items():
        name = key.split("/")[0]
        if key != METADATA and name not in corpus.modalities:
            arrays.setdefault(name, {})[key] = content
    return arrays


def _decode_equal(store: Store, name: str, objects: Mapping[str, memoryview]) -> bool:
    """Whether an array holds the same values with the same attributes; other releases may have compressed it."""
    made: dict[str, Any] = {key: Buffer.from_bytes(bytes(content)) for key, content in objects.items()}
    expected = zarr.open_array(MemoryStore(made), path=name, mode="r")
    try:
        with store.reading():
            stored = zarr.open_array(store.zarr(read_only=True), path=name, mode="r")
            same = _equal(np.asarray(stored[:]), np.asarray(expected[:]))
    except (OSError, *_MALFORMED):
        return False
    return same and dict(stored.attrs) == dict(expected.attrs)


def _equal(stored: NDArray[Any], expected: NDArray[Any]) -> bool:
    """Whether values are the same; of real numbers all but the last digits, in which releases of PROJ differ."""
    if expected.dtype.kind != "f" or stored.dtype != expected.dtype or stored.shape != expected.shape:
        return np.array_equal(stored, expected)
    return np.allclose(stored, expected, rtol=0, atol=_SAME_DEGREES, equal_nan=True)


def _look_around(found: Verification, corpus: Corpus) -> None:
    """Note files in the ledger that are none of ours: nothing reads them."""
    folders = [corpus.ledger.folder / name for name in sorted(corpus.modalities)]
    strange = [
        folder / name
        for folder in folders
        if folder.is_dir()
        for name in sorted(os.listdir(folder))
        if not _ENTRY.fullmatch(name) or int(Path(name).stem) >= len(corpus.shards)
    ]
    if strange:
        found.notes.append(f"{len(strange)} files in the ledger are no entries and count for nothing, as {strange[0]}.")


def verify_shards(found: Verification, progress: Progress) -> None:
    """Compare every ledger entry with the seal, and every finished shard's object with its entry; a few at a time.

    Objects are read as a stream. Adds what is wrong to `found`.
    """
    corpus = found.corpus
    if corpus is None or not corpus.shard_rows:
        return
    tasks = [
        (name, corpus.shards[start : start + _SHARDS_A_TASK])
        for name in sorted(corpus.modalities)
        for start in range(0, len(corpus.shards), _SHARDS_A_TASK)
    ]
    progress.start("verify", len(corpus.modalities) * len(corpus.shards))
    with ThreadPoolExecutor(_SHARDS_AT_ONCE) as pool:
        for count, finished, faults in pool.map(partial(_look_at, corpus, found.seal), tasks):
            found.finished += finished
            found.faults += faults
            progress.advance(count)
    found.unfinished = len(corpus.modalities) * len(corpus.shards) - found.finished


def _look_at(corpus: Corpus, seal: Seal | None, task: tuple[str, tuple[Shard, ...]]) -> tuple[int, int, list[Fault]]:
    """How many shards of a layer these are, how many of them have an entry, and what is wrong with them."""
    name, shards = task
    findings = [_finding(corpus, seal, name, shard) for shard in shards]
    faults = [item for item in findings if isinstance(item, Fault)]
    return len(shards), len(faults) + findings.count(True), faults


def _finding(corpus: Corpus, seal: Seal | None, name: str, shard: Shard) -> Fault | bool:
    """What is wrong with a shard; whether it is finished where nothing is."""
    path = corpus.ledger.path(name, shard.index)
    wrong = partial(Fault, remedy=Remedy.EXPORT, name=name, shard=shard.index)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        was_there = seal is not None and not seal.has_entry(name, shard.index, b"")
        return wrong(str(path), "is lost") if was_there else False
    except OSError as error:
        return wrong(str(path), f"cannot be read ({error.strerror})")
    if seal and not seal.has_entry(name, shard.index, content):
        return wrong(str(path), "is not what was sealed")
    try:
        (mark,) = corpus.ledger.marks(name, [shard.index])
    except Fatal:
        return wrong(str(path), "is damaged")
    if (mark.modality, mark.shard) != (name, shard.index):
        return wrong(str(path), "is the entry of another shard")
    if not corpus.belongs(mark):
        return False
    return _object_finding(corpus, name, shard, mark.digest)


def _object_finding(corpus: Corpus, name: str, shard: Shard, expected: str) -> Fault | bool:
    key = corpus.object_key(name, shard)
    found = partial(Fault, f"{name} shard {shard.index} ({corpus.store.url}/{key})", name=name, shard=shard.index)
    try:
        digest = corpus.store.digest(key) or ABSENT
    except Unreadable as error:
        return found(f"cannot be read ({error})", remedy=Remedy.COPY)
    if digest == expected or (digest != ABSENT and is_between(corpus, name, shard, expected)):
        return True
    wrong = "has lost its object" if digest == ABSENT else "differs from its digest in the ledger"
    return found(wrong, remedy=Remedy.EXPORT)
