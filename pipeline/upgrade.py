"""A store of an older format becomes one of this format: checksums are put behind its chips, shard by shard, and it
gets the coordinates that it lacks.

No chip is compressed anew, and no second copy of a layer is needed. Each object is replaced in one step, its ledger
entry follows, and the metadata of the array change last, when all its objects are new. Until then they name the older
codecs, by which both kinds of objects are read: the header of Blosc says where a chip ends. Objects tell by themselves
of which kind they are, so that an upgrade that was killed goes on with what is left, in a bucket as on a disk.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from pipeline import store_owner
from pipeline.chunk_upgrade import ChipsUpgrade, ChunkUpgrade, VectorsUpgrade
from pipeline.compression import CHECKSUMS_SINCE, FORMAT_VERSION
from pipeline.coordinates import coordinates_of
from pipeline.corpus import Corpus
from pipeline.corpus_folder import STATISTICS
from pipeline.errors import Fatal
from pipeline.layout import is_reserved
from pipeline.metadata import drop_consolidated, metadata_bytes, metadata_key
from pipeline.modality import Modality
from pipeline.progress import Progress
from pipeline.seal import SEAL
from pipeline.shard import Shard
from pipeline.store import METADATA, Store, digest_of

_AT_ONCE = 4  # shards in memory, some 350 MB each; the disk is waited for, and digests release the interpreter
_ELSEWHERE = {"chunk_key_encoding": {"name": "v2", "configuration": {"separator": "/"}}}  # without the default's "c"

Fresh = Mapping[str, memoryview]  # the objects of an empty store in the present format, by key


@dataclass(frozen=True)
class Outcome:
    """How many objects got checksums; and what is damaged, a few words each."""

    rewritten: int
    damaged: tuple[str, ...] = ()


def upgrade(corpus: Corpus, progress: Progress) -> Outcome:
    """Give the store of a corpus the present format; a damaged shard stays as it is, and with it its array's metadata.

    Call it with the lock held. The result is, to the byte, the store and the ledger of an export by this release.
    Raises `Fatal` for a damaged ledger entry, for the store of another corpus, and before anything is written for a
    layer with the name of a coordinate that is to come; and `Fatal` and `Transient` as the store does.
    """
    if corpus.format_version >= FORMAT_VERSION:
        _finish(corpus)
        return Outcome(0)
    _refuse_names_of_coordinates(corpus)
    store_owner.claim(corpus.folder, corpus.store)  # the ledger of a copy of the folder knows the older objects
    corpus.unseal()
    drop_consolidated(corpus.store)
    fresh = replace(corpus.layout, format_version=FORMAT_VERSION).objects(corpus.modalities.values())
    progress.start("upgrade", len(corpus.modalities) * len(corpus.shards))
    parts = [_upgrade_layer(corpus, modality, fresh, progress) for modality in corpus.modalities.values()]
    outcome = Outcome(sum(part.rewritten for part in parts), tuple(text for part in parts for text in part.damaged))
    if not outcome.damaged:
        _upgrade_labels(corpus, fresh)
        _finish(Corpus.open(corpus.folder))
    return outcome


def _refuse_names_of_coordinates(corpus: Corpus) -> None:
    taken = next((name for name in sorted(corpus.modalities) if is_reserved(name)), None)
    if taken is not None:
        raise Fatal(
            f"the layer {taken!r} of {corpus.folder} has the name of a coordinate that the upgrade brings, so nothing "
            "was changed; the corpus can be read as it is, or take its other layers into a new one: "
            f"`geocorpus convert {corpus.folder} NEW --to corpus --layer NAME`."
        )


def _finish(corpus: Corpus) -> None:
    """Consolidate and seal what was finished: the upgrade took both away, and may have been killed before this."""
    was_finished = (corpus.folder / STATISTICS).exists()
    if was_finished and not (corpus.folder / SEAL).exists() and not corpus.missing():
        corpus.finalize()


def _upgrade_layer(corpus: Corpus, modality: Modality, fresh: Fresh, progress: Progress) -> Outcome:
    """All shards of a layer, then the names of its bands, and its metadata if no shard is damaged."""
    key = metadata_key(modality.name)
    stored = corpus.store.get(key) or b""
    if json.loads(stored)["codecs"] == json.loads(bytes(fresh[key]))["codecs"]:
        progress.advance(len(corpus.shards))
        return Outcome(0)
    chunks = _chunks_of(corpus, modality)
    if chunks is None:
        return Outcome(0, (f"layer {modality.name!r} (it is not cut and compressed as in any release)",))
    outcome = _upgrade_shards(partial(_upgrade_shard, corpus, modality.name, chunks), corpus.shards, progress)
    if not outcome.damaged:
        _switch(corpus.store, modality.band_axis, fresh)
        codecs = json.loads(bytes(fresh[key]))["codecs"]
        corpus.store.put(key, metadata_bytes(json.loads(stored) | {"codecs": codecs}))
    return outcome


def _chunks_of(corpus: Corpus, modality: Modality) -> ChunkUpgrade | None:
    """How objects of a layer become new; None where they are not as a release has written them."""
    nbytes = int(np.prod(modality.shape(corpus.manifest.size_px))) * np.dtype(modality.dtype).itemsize
    codec = corpus.chip_codec(modality.name)
    if modality.extent != "pixel":
        return VectorsUpgrade(nbytes * corpus.shard_rows)
    return ChipsUpgrade(nbytes, codec) if codec else None


def _upgrade_shards(work: Callable[[Shard], bool], shards: Sequence[Shard], progress: Progress) -> Outcome:
    rewritten, damaged = 0, []
    for result in _each(partial(_caught, work), shards):
        if isinstance(result, str):
            damaged.append(result)
        else:
            rewritten += result
        progress.advance()
    return Outcome(rewritten, tuple(damaged))


def _each(work: Callable[[Shard], bool | str], shards: Sequence[Shard]) -> Iterator[bool | str]:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            yield from pool.map(work, shards)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _caught(work: Callable[[Shard], bool], shard: Shard) -> bool | str:
    """What `work` says of the shard, or the words about its damage."""
    try:
        return work(shard)
    except ValueError as error:
        return str(error)


def _upgrade_shard(corpus: Corpus, name: str, chunks: ChunkUpgrade, shard: Shard) -> bool:
    """Whether the object was rewritten; raises `ValueError` for a damaged one, which stays.

    An object without an entry is nobody's: an export replaces it.
    """
    key, ledger = corpus.object_key(name, shard), corpus.ledger
    if not ledger.path(name, shard.index).exists():
        return False
    entry, content = ledger.read(name, shard.index), corpus.store.get(key)
    if content is None:
        ledger.renew(entry)
        return False
    try:
        new = chunks.object(content, entry.digest, shard)
    except ValueError as error:
        raise ValueError(f"shard {shard.index} of {name!r} ({error})") from error
    if new != content:
        if entry.index_crc32c:  # Readers compare nothing until the object and its entry agree.
            ledger.mark(replace(entry, index_crc32c=None))
        corpus.store.put(key, new)
    ledger.renew(replace(entry, digest=digest_of(new), index_crc32c=chunks.index_crc32c(new)))
    return new != content


def is_between(corpus: Corpus, name: str, shard: Shard, digest: str) -> bool:
    """Whether an upgrade that was cut off has left a shard's new object beside an entry with the `digest` of the old.

    The same upgrade, given again, writes the entry. Raises as reading the store does.
    """
    if corpus.format_version >= CHECKSUMS_SINCE:
        return False
    chunks, content = _chunks_of(corpus, corpus.modality(name)), corpus.store.get(corpus.object_key(name, shard))
    try:
        return chunks is not None and content is not None and chunks.object(content, digest, shard) == content
    except ValueError:
        return False


def _upgrade_labels(corpus: Corpus, fresh: Fresh) -> None:
    """The coordinates, those that are new at last, then the version of the store."""
    for item in corpus.layout.coordinates:
        _switch(corpus.store, item.name, fresh)
    known = {item.name for item in corpus.layout.coordinates}
    for name in (item.name for item in coordinates_of(FORMAT_VERSION) if item.name not in known):
        _put_array(corpus.store, name, fresh)
    old, new = _root(corpus.store), json.loads(bytes(fresh[METADATA]))
    ours = {key: new["attributes"][key] for key in ("coordinates", "format_version")}
    corpus.store.put(METADATA, metadata_bytes(new | {"attributes": old["attributes"] | ours}))


def _put_array(store: Store, name: str, fresh: Fresh) -> None:
    """All objects of an array, its metadata last, whatever there is: it may be of an upgrade before the corpus grew."""
    keys = [key for key in fresh if key.startswith(f"{name}/")]
    for key in sorted(keys, key=lambda key: key == metadata_key(name)):
        store.put(key, fresh[key])


def _switch(store: Store, name: str, fresh: Fresh) -> None:
    """Replace a small array whose older chunks no newer codecs read, nor the other way round.

    While its chunks change, its metadata name copies of the new ones under other keys: a reader sees the one array or
    the other, whenever it looks.
    """
    metadata, prefix = metadata_key(name), f"{name}/c/"
    chunks = {key: content for key, content in fresh.items() if key.startswith(prefix)}
    copies = {f"{name}/{key.removeprefix(prefix)}": content for key, content in chunks.items()}
    if store.get(metadata) != fresh[metadata]:
        between = metadata_bytes(json.loads(bytes(fresh[metadata])) | _ELSEWHERE)
        for step in (copies, {metadata: between}, chunks, {metadata: fresh[metadata]}):
            for key, content in step.items():
                store.put(key, content)
    for key in copies:
        store.delete(key)


def _root(store: Store) -> dict[str, Any]:
    return dict(json.loads(store.get(METADATA) or b"{}"))
