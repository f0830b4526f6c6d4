"""Mends a corpus: what can be computed is written anew, and what is lost is marked missing for the next export."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline import durable, store_owner
from pipeline.corpus import Corpus
from pipeline.corpus_folder import MANIFEST, STATISTICS
from pipeline.errors import Fatal
from pipeline.fault import Fault, Remedy
from pipeline.manifest import Manifest
from pipeline.metadata import metadata_bytes, metadata_key, read_metadata
from pipeline.modality import BAND_PREFIX, Modality
from pipeline.progress import Progress
from pipeline.seal import SEAL
from pipeline.store import METADATA
from pipeline.verification import MANIFEST_DIGEST, Verification, examine, verify_shards

Known = Callable[[Manifest], Mapping[str, Modality]]  # the layers that the settings ask for, for a manifest


@dataclass
class Repair:
    """What was mended, and the corpus as it was found afterwards: its faults are those that nothing here mends."""

    found: Verification
    mended: list[Fault] = field(default_factory=list)
    sealed: bool = False  # whether the corpus is whole and sealed now


def repair(folder: Path, progress: Progress, known: Known) -> Repair:
    """Mend all that can be mended without Earth Engine; hold the corpus's lock meanwhile.

    `known` gives the layers of the settings, from which lost metadata of an array is made again where no copy of it is
    left. Raises `Fatal` when there is no corpus, when it cannot be written to, and when its store belongs to another.
    """
    before = examine(folder)
    store_owner.refuse_other(folder, before.store)  # what looks like damage is the work of that one
    _rewrite_small(before, known)
    found = examine(folder)
    left = {str(fault) for fault in found.faults}
    result = Repair(found, [fault for fault in before.faults if str(fault) not in left])
    verify_shards(found, progress)
    _mark_missing(result)
    _finish(result)
    found.faults = [_for_a_person(fault) for fault in found.faults]
    return result


def _rewrite_small(found: Verification, known: Known) -> None:
    corpus = found.corpus
    if corpus is None or not corpus.shard_rows:
        return
    keys = found.bad_keys
    if str(found.folder / MANIFEST_DIGEST) in {fault.what for fault in found.faults}:
        Manifest.counted(found.folder / MANIFEST).keep_digest(found.folder / MANIFEST)
    if METADATA in keys:
        corpus.store.put(METADATA, corpus.layout.root_objects()[METADATA])
    layers = {name for name in _arrays(keys) if metadata_key(name) in keys and name not in _labels(corpus, found)}
    made = known(corpus.manifest) if layers else {}
    copies = {} if METADATA in keys else _copies(corpus)
    for name in sorted(layers):
        _rewrite_layer(found, corpus, name, [copies.get(name), *_made(corpus, made.get(name))])
    for name in sorted(_arrays(keys) - layers):
        _rewrite_label(found, corpus, name)
    if METADATA in keys and (found.seal is not None or (found.folder / STATISTICS).exists()):
        corpus.consolidate()


def _arrays(keys: Iterable[str]) -> set[str]:
    return {key.split("/")[0] for key in keys} - {METADATA}


def _labels(corpus: Corpus, found: Verification) -> set[str]:
    """The arrays that are no layers."""
    named = {name for name in _arrays(found.bad_keys) if name.startswith(BAND_PREFIX)}
    return _arrays(corpus.layout.root_objects()) | named


def _copies(corpus: Corpus) -> dict[str, bytes]:
    """The metadata of the arrays as the root's consolidated metadata has it."""
    try:
        kept = read_metadata(corpus.store, "")["consolidated_metadata"]["metadata"]
        return {name: metadata_bytes(data) for name, data in kept.items()}
    except (Fatal, KeyError, TypeError, AttributeError):
        return {}


def _made(corpus: Corpus, modality: Modality | None) -> list[bytes]:
    """The metadata of a layer's array, with what is kept beside its specification, and as older releases wrote it."""
    if modality is None:
        return []
    forms = [
        form
        for each in (modality, modality.without_ranges_of_bands())
        for form in (each, replace(each, observed=None), replace(each, observed=None, licence=None))
    ]
    return [bytes(corpus.layout.array_objects(form)[metadata_key(form.name)]) for form in forms]


def _rewrite_layer(found: Verification, corpus: Corpus, name: str, candidates: Iterable[bytes | None]) -> None:
    """Publish the first of the candidates for an array's metadata that is what the array was written with."""
    for content in candidates:
        if content is not None and _is_right(found, corpus, name, content):
            corpus.store.put(metadata_key(name), content)
            corpus.modalities[name] = Modality.from_attributes(json.loads(content)["attributes"])
            return


def _is_right(found: Verification, corpus: Corpus, name: str, content: bytes) -> bool:
    """Whether this is what was sealed, or else what the layer's ledger entries were written for."""
    if found.seal is not None:
        return hashlib.sha256(content).hexdigest() == found.seal.objects.get(metadata_key(name))
    specified = Modality.from_attributes(json.loads(content)["attributes"])
    for index in sorted(corpus.ledger.done(name)):
        try:
            return corpus.ledger.marks(name, [index])[0].modality_digest == specified.digest
        except Fatal:
            continue
    return True


def _rewrite_label(found: Verification, corpus: Corpus, name: str) -> None:
    """Write the objects of a coordinate, or of a layer's names of bands, that are at fault.

    Where another release has compressed them otherwise, the whole array is written, and the seal is broken.
    """
    modality = corpus.modalities.get(name.removeprefix(BAND_PREFIX))
    objects = {**corpus.layout.root_objects(), **(corpus.layout.array_objects(modality) if modality else {})}
    own = {key: bytes(content) for key, content in objects.items() if key.startswith(f"{name}/")}
    bad = [key for key in found.bad_keys if key.startswith(f"{name}/")]
    sealed: Mapping[str, Any] = found.seal.objects if found.seal else {}
    if not own:
        return
    if found.seal and any(_sha256(own.get(key)) != sealed[key] for key in bad):
        corpus.unseal()
        bad = list(own)
    for key in sorted(bad, key=lambda key: key.endswith(METADATA)):
        corpus.store.replace(key, [own[key]] if key in own else [])


def _sha256(content: bytes | None) -> str | None:
    return None if content is None else hashlib.sha256(content).hexdigest()


def _mark_missing(result: Repair) -> None:
    """Remove the ledger entries of shards at fault, after the seal."""
    found, corpus = result.found, result.found.corpus
    shards = [fault for fault in found.faults if fault.remedy is Remedy.EXPORT]
    if corpus is None or not shards:
        return
    corpus.unseal()
    for fault in shards:
        durable.remove(corpus.ledger.path(fault.name, fault.shard))
    found.unfinished += len(shards)
    found.finished -= len(shards)
    found.faults = [fault for fault in found.faults if fault.remedy is not Remedy.EXPORT]
    result.mended += shards


def _finish(result: Repair) -> None:
    """Write statistics and seal anew where they were damaged and everything else is as it should be.

    Where shards are missing, what is damaged of them goes: `finalize` writes both once the shards are there.
    """
    found, corpus = result.found, result.found.corpus
    rewritten = {str(found.folder / name) for name in (STATISTICS, SEAL)}
    wrong = [fault for fault in found.faults if fault.what in rewritten]
    others = [fault for fault in found.faults if fault not in wrong]
    if corpus is None or others:
        return
    was_final = (found.folder / STATISTICS).exists() or bool(wrong)
    if found.unfinished or not corpus.modalities:
        for fault in wrong:
            durable.remove(Path(fault.what))
    elif was_final and (wrong or not (found.folder / SEAL).exists()):
        corpus.finalize()
    found.faults, result.mended = [], [*result.mended, *wrong]
    result.sealed = (found.folder / SEAL).exists()


def _for_a_person(fault: Fault) -> Fault:
    """What could not be written anew must come from a copy; statistics and seal wait for the rest."""
    if fault.remedy is Remedy.REWRITE and fault.key:
        return replace(fault, remedy=Remedy.COPY)
    return fault
