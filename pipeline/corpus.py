"""The corpus: one Zarr v3 array per modality, written a whole shard at a time, with a manifest and a ledger."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import zarr
from numpy.typing import NDArray

from pipeline import durable, fence, growth, seal, sharding, statistics, store_owner
from pipeline.compression import FORMAT_VERSION
from pipeline.corpus_folder import LEDGER, MANIFEST, PLACE, PROVENANCE, STATISTICS, STORE, no_corpus, place_of
from pipeline.errors import Fatal, unknown_name
from pipeline.first_use import damaged, refuse_other_object, unfinished
from pipeline.layout import Layout, array_attributes, is_reserved, is_taken
from pipeline.ledger import ABSENT, Entry, Ledger, Mark
from pipeline.manifest import Manifest
from pipeline.metadata import drop_consolidated, metadata_bytes, metadata_key, read_metadata
from pipeline.modality import Modality
from pipeline.older_format import say_what_it_lacks, version_of
from pipeline.shard import Shard
from pipeline.sharding import ChipCodec
from pipeline.sizes import SHARD_ROWS
from pipeline.store import METADATA, Store

_CHECKED_AT_ONCE = 16  # objects on their first use: from a bucket each is a request
# What zarr-python and its codecs raise for bytes that are not what was written.
UNDECODABLE = (ValueError, RuntimeError, TypeError, IndexError, MemoryError)


class Corpus:
    """A folder with `corpus.zarr`, `manifest.parquet` and `ledger/`, made by `create` and opened by `open`.

    The arrays may be on another disk or in a bucket; `store.json` in the folder then holds their URL. `manifest` has
    the rows that the store is laid out for; `whole` is the file, which may have gained more since.
    """

    def __init__(self, folder: Path, manifest: Manifest, shard_rows: int, store: Store) -> None:
        self.folder = folder
        self.store = store
        self.manifest = self.whole = manifest
        self.shard_rows = shard_rows
        self.format_version = FORMAT_VERSION
        self.ledger = Ledger(folder / LEDGER)
        self._is_owned = False
        self._used: set[tuple[str, int]] = set()
        self._finished: dict[str, frozenset[int]] = {}
        self._codecs: dict[str, ChipCodec | None] = {}
        self._known: dict[str, frozenset[str]] = {}

    @classmethod
    def create(
        cls,
        folder: Path,
        modalities: Iterable[Modality],
        shard_rows: int = SHARD_ROWS,
        store_url: str | None = None,
        manifest: Manifest | None = None,
        format_version: int = FORMAT_VERSION,
    ) -> Self:
        """Create the empty store for the manifest in `folder`, with the metadata of every array.

        `store_url` is a path, `s3://bucket/prefix` or `gs://bucket/prefix`; None is the store that the corpus has, or
        `corpus.zarr` in the folder. `manifest` is that of `folder`, if it is read already. `format_version` is of a
        new store; a store that exists keeps its own, for further arrays too. Another call with the same arguments
        changes nothing; with more modalities it adds their arrays; once the manifest was extended, it makes room for
        the new rows. Raises `Fatal` when the store belongs to another corpus, manifest, shard size or specification, or
        may not be written, and `Transient` when it does not answer.
        """
        corpus = cls(folder, manifest or Manifest.read(folder / MANIFEST), shard_rows, place_of(folder, store_url))
        corpus.format_version = format_version
        corpus.store.check()
        if corpus.store.exists:
            corpus._grow()
            corpus._refuse_other()
            store_owner.claim(folder, corpus.store)
        else:
            store_owner.claim(folder, corpus.store)
            corpus.unseal()
            corpus.store.adopt(corpus.layout.root_objects())
        if corpus.store.url != str(folder / STORE):
            durable.write_json(folder / PLACE, {"store": corpus.store.url})
        for modality in modalities:
            corpus.add(modality)
        return corpus

    def _grow(self) -> None:
        """Make room in the store for the rows that its manifest has gained, if any."""
        attributes = self._group_attributes()
        self.format_version = version_of(attributes, self.store.url)
        digest, shard_rows = attributes.get("manifest_digest"), attributes.get("shard_rows")
        if digest == self.manifest.digest or digest not in self.manifest.lineage or shard_rows != self.shard_rows:
            return
        self.manifest.refuse_false_ancestors()
        self.unseal()
        (self.folder / STATISTICS).unlink(missing_ok=True)  # those of the shorter corpus
        growth.grow(self.store, self.layout.root_objects(), len(self.manifest))

    @classmethod
    def open(cls, folder: Path, state: str | None = None) -> Self:
        """Open an existing corpus, or the state of it whose manifest has the digest `state`: its first rows.

        Where the manifest has gained rows that the store is not laid out for, the corpus is what it was before. Raises
        `Fatal` when there is none, it belongs to another manifest, or has never been in that state; and when the corpus
        is sealed, and one of its small parts is not as it was then.
        """
        store = place_of(folder)
        if not store.exists:
            raise no_corpus(folder)
        seal.check_opening(folder, store)
        corpus = cls(folder, Manifest.read(folder / MANIFEST), 0, store)
        attributes = corpus._group_attributes()
        corpus.shard_rows = int(attributes.get("shard_rows", 0))
        corpus.manifest = corpus.whole.at(attributes.get("manifest_digest", "")) or corpus.whole
        corpus._refuse_other()
        return corpus if state is None else corpus.at(state)

    def __reduce__(self) -> tuple[Any, ...]:
        """By its folder: another process opens the corpus itself, as neither files nor connections travel."""
        return type(self).open, (self.folder.absolute(), self.manifest.digest)

    def at(self, state: str) -> Self:
        """The corpus as it was when its manifest had the digest `state`, for who has seen no more of it.

        Raises `Fatal` when it has never been in that state.
        """
        manifest = self.manifest.at(state)
        if manifest is None:
            raise Fatal(f"the corpus in {self.folder} never had the manifest {state[:16]}; put its own back.")
        return self if manifest is self.manifest else self._with(manifest, self.ledger)

    @property
    def behind(self) -> int:
        """How many rows the manifest's file has gained that the store is not laid out for."""
        return len(self.whole) - len(self.manifest)

    def ahead(self) -> Self:
        """The corpus with all rows of the manifest's file, to plan those that the store is not yet laid out for."""
        return self if self.whole is self.manifest else self._with(self.whole, self.ledger)

    def restricted_to(self, shards: Iterable[int]) -> Self:
        """The same corpus with only these shards finished."""
        return self._with(self.manifest, Ledger(self.ledger.folder, only=shards))

    def _with(self, manifest: Manifest, ledger: Ledger) -> Self:
        other = copy.copy(self)
        for known in ("modalities", "shards"):
            other.__dict__.pop(known, None)
        other.manifest, other.ledger, other._finished, other._known = manifest, ledger, {}, {}
        return other

    @property
    def layout(self) -> Layout:
        """The lay-out of the store, as it follows from the manifest."""
        return Layout(self.manifest, self.shard_rows, self.format_version)

    def _group_attributes(self) -> dict[str, Any]:
        return dict(self._metadata("")["attributes"])

    def _metadata(self, name: str) -> dict[str, Any]:
        """Zarr's metadata of an array, or of the whole store; raises `Fatal` when it is absent or damaged."""
        return read_metadata(self.store, name)

    def _refuse_other(self) -> None:
        attributes = self._group_attributes()
        if attributes.get("manifest_digest") != self.manifest.digest:
            raise Fatal(
                f"the store in {self.store.url} belongs to another manifest; use another folder, "
                "or put the manifest it was made from back."
            )
        if attributes.get("shard_rows") != self.shard_rows:
            raise Fatal(
                f"the store in {self.store.url} has {attributes.get('shard_rows')} rows a shard, "
                f"not {self.shard_rows}; keep corpus.shard_rows as it was."
            )
        self.format_version = version_of(attributes, self.store.url)
        say_what_it_lacks(self.folder, self.format_version)

    def add(self, modality: Modality) -> None:
        """Add the empty array of `modality`; existing arrays are not touched.

        Raises `Fatal` when the name is reserved, or belongs to a modality with another specification.
        """
        if self.layout.reserves(modality.name) or (is_reserved(modality.name) and not self._has_layer(modality.name)):
            raise Fatal(f"a modality cannot be called {modality.name!r}: the store uses that name; choose another.")
        known = self._stored_modality(modality.name)
        if known is None:
            if is_taken(modality.name):
                raise Fatal(f"a modality cannot be called {modality.name!r}: a chip's grid has it; choose another.")
            self._publish_array(modality)
        elif self.manifest.ancestors and growth.is_extended_by(known, modality):
            self._extend_classes(known, modality)
        elif not self._goes_on_as(known, modality):
            raise Fatal(
                f"modality {modality.name!r} in {self.folder} was written with another specification; "
                "give the changed one another name."
            )
        else:
            drop_consolidated(self.store, unless_it_has=modality.name)  # before 0.2 they hid a layer that was added

    def _goes_on_as(self, known: Modality, modality: Modality) -> bool:
        """Whether a layer may stay as it was laid out."""
        same = known == modality or growth.is_before_ranges_of(known, modality)
        return same or (self._is_composed and growth.holds_classes_of(known, modality))

    @property
    def _is_composed(self) -> bool:
        """Whether the chips come from other corpora: classes that its own chips no longer have are known as well."""
        return (self.folder / PROVENANCE).exists()

    def _extend_classes(self, known: Modality, modality: Modality) -> None:
        """New places may bring new classes: they follow the old ones, and what had fewer stays known."""
        self.unseal()
        drop_consolidated(self.store)
        data = self._metadata(modality.name)
        before = {self.manifest.ancestors[-1].digest: len(known.categories)}
        former = data["attributes"].get(growth.FORMER_CLASSES, {}) | before
        data["attributes"] = array_attributes(modality) | {growth.FORMER_CLASSES: former}
        self.store.put(metadata_key(modality.name), metadata_bytes(data))

    def _has_layer(self, name: str) -> bool:
        """Whether there is a layer of a name that the coordinates of a newer format have."""
        return self.store.get(metadata_key(name)) is not None and "geocorpus" in self._metadata(name)["attributes"]

    def _stored_modality(self, name: str) -> Modality | None:
        if self.store.get(metadata_key(name)) is None:
            return None
        return Modality.from_attributes(self._metadata(name)["attributes"])

    def _publish_array(self, modality: Modality) -> None:
        """Create the array in memory, then write only its new objects to the store, the array's metadata last.

        Consolidated metadata go before, so that whoever opens the store from then on sees the array.
        """
        self.unseal()
        drop_consolidated(self.store)
        objects = self.layout.array_objects(modality)
        for key in sorted(objects, key=lambda key: key == metadata_key(modality.name)):
            self.store.put(key, objects[key])

    @cached_property
    def modalities(self) -> dict[str, Modality]:
        """The layers of the store by name, from the specifications in their attributes.

        Raises `Fatal` when the metadata of an array is absent or damaged.
        """
        layout = self.layout
        layers = [name for name in self.store.names() if not layout.reserves(name) and self._is_laid_out(name)]
        attributes = {name: self._metadata(name)["attributes"] for name in layers}
        states = [*(item.digest for item in self.whole.ancestors), self.whole.digest]
        later = states[states.index(self.manifest.digest) :]
        return {
            name: growth.as_of(Modality.from_attributes(data), data, later)
            for name, data in attributes.items()
            if data.get("geocorpus")
        }

    def _is_laid_out(self, name: str) -> bool:
        """Whether an array is there; of one whose lay-out was cut short, only a folder is."""
        return (self.ledger.folder / name).exists() or self.store.get(metadata_key(name)) is not None

    def modality(self, name: str) -> Modality:
        """The layer called `name`; raises `Fatal` with the nearest known name otherwise."""
        if name not in self.modalities:
            raise unknown_name("modality", name, self.modalities)
        return self.modalities[name]

    @cached_property
    def shards(self) -> tuple[Shard, ...]:
        """All shards, by index."""
        return self.manifest.shards(self.shard_rows)

    def missing(self, names: Iterable[str] | None = None) -> dict[Shard, tuple[str, ...]]:
        """The unfinished shards, each with its modalities (all, or those in `names`) that have no valid ledger entry.

        Raises `Fatal` for a damaged entry.
        """
        wanted = list(self.modalities if names is None else names)
        done = {name: self.finished(name) for name in wanted}
        pending = {shard: tuple(name for name in wanted if shard.index not in done[name]) for shard in self.shards}
        return {shard: names for shard, names in pending.items() if names}

    def lacking(self, shard: Shard, names: Iterable[str]) -> tuple[str, ...]:
        """Those of `names` without a valid entry for this shard; reads the entries of this shard alone.

        Raises `Fatal` for a damaged entry.
        """
        return tuple(name for name in names if not self._valid_shards(self._marks_of(name, shard)))

    def _marks_of(self, name: str, shard: Shard) -> list[Mark]:
        return self.ledger.marks(name, [shard.index]) if self.ledger.path(name, shard.index).exists() else []

    def entries(self, name: str) -> Iterator[Entry]:
        """The valid ledger entries of a modality, ordered by shard; one is in memory at a time.

        Raises `Fatal` for a damaged entry.
        """
        return (self._within(self.ledger.read(name, index)) for index in sorted(self.finished(name)))

    def findings(self, name: str) -> Iterator[Entry]:
        """As `entries`, without statistics: tens of thousands in a few seconds."""
        for entry in self.ledger.without_statistics(name, sorted(self.finished(name))):
            stop = self.shards[entry.shard].stop
            yield replace(entry, missing={row: reason for row, reason in entry.missing.items() if row < stop})

    def _within(self, entry: Entry) -> Entry:
        """The entry as one of this state: without rows that came later, and with all classes that the layer has."""
        shard, modality = self.shards[entry.shard], self.modality(entry.modality)
        if entry.rows[1] != shard.stop:  # the last shard of an earlier state, which has been filled up since
            missing = {row: reason for row, reason in entry.missing.items() if row < shard.stop}
            summary = self._summarise(modality, shard, self._values(entry.modality, shard.slice))
            return replace(entry, rows=(shard.start, shard.stop), missing=missing, summary=summary)
        if entry.modality_digest != modality.digest:
            return replace(entry, summary=statistics.with_classes(dict(entry.summary), len(modality.categories)))
        return entry

    def finished(self, name: str) -> frozenset[int]:
        """Indices of the shards of a modality with a valid entry. An entry that was valid is not checked again.

        An entry of another manifest or specification is not valid. Neither is one whose object is absent, because the
        shard would read as nodata. An entry of another state of this manifest is valid if it has all rows of the shard.
        Raises `Fatal` for a damaged entry.
        """
        marked = self.ledger.done(name)
        valid = self._finished.get(name, frozenset()) & marked
        valid |= self._valid_shards(self.ledger.marks(name, sorted(marked - valid)))
        self._finished[name] = valid
        return valid

    def is_finished(self, name: str, index: int) -> bool:
        """Whether `finished` has this shard, from its entry alone: for a look at few of many shards.

        Raises `Fatal` for a damaged entry.
        """
        known = self._finished.get(name, frozenset())
        if not self.ledger.has(name, index):
            return False
        if index in known:
            return True
        valid = self._valid_shards(self.ledger.marks(name, [index]))
        self._finished[name] = known | valid
        return bool(valid)

    def _valid_shards(self, marks: Iterable[Mark]) -> frozenset[int]:
        matching = [mark for mark in marks if self.belongs(mark)]
        keys = {mark.shard: self.object_key(mark.modality, self.shards[mark.shard]) for mark in matching}
        present = self.store.present(keys[mark.shard] for mark in matching if mark.digest != ABSENT)
        return frozenset(mark.shard for mark in matching if mark.digest == ABSENT or keys[mark.shard] in present)

    def belongs(self, mark: Mark) -> bool:
        """Whether a mark was written for all rows of its shard, by a state of this manifest, as now specified."""
        if mark.shard >= len(self.shards) or not self._is_ours(mark):
            return False
        shard = self.shards[mark.shard]
        return mark.rows[0] == shard.start and mark.rows[1] >= shard.stop

    def _is_ours(self, mark: Mark) -> bool:
        """Whether a mark is of a state of this manifest, and of the stored specification or of one that it extends."""
        if mark.manifest_digest not in self.whole.lineage:
            return False
        return mark.modality_digest in self._specifications(mark.modality)

    def _specifications(self, name: str) -> frozenset[str]:
        if name not in self._known:
            attributes = self._metadata(name)["attributes"]
            stored = Modality.from_specification(attributes["geocorpus"])
            self._known[name] = frozenset(item.digest for item in [stored, *growth.former(stored, attributes)])
        return self._known[name]

    def outgrown(self, name: str, shard: Shard) -> Entry | None:
        """The entry of a shard that had fewer rows before the corpus grew; None where its object is not as it says.

        Raises `Fatal` for a damaged entry.
        """
        marks = [mark for mark in self._marks_of(name, shard) if self._is_ours(mark)]
        if not marks or not (marks[0].rows[0] == shard.start and marks[0].rows[1] < shard.stop):
            return None
        return self.ledger.read(name, shard.index) if self.verify(name, shard) else None

    def held(self, entry: Entry) -> NDArray[Any]:
        """Values (rows, bands[, y, x]) of the rows of an entry, in the stored dtype."""
        return self._values(entry.modality, slice(*entry.rows))

    def write(
        self,
        shard: Shard,
        name: str,
        block: NDArray[Any],
        missing: Mapping[int, str],
        quality: Mapping[str, Any] | None = None,
        compressed: Mapping[int, bytes] | None = None,
    ) -> Entry:
        """Write the whole shard of one modality, make it durable, then mark it in the ledger.

        `block` is (rows of the shard, bands[, y, x]) in the stored dtype. `missing` maps manifest rows without any data
        to reasons. `quality` is JSON and stored unchanged. `compressed` maps manifest rows to chips of the block that
        `chip_codec` has compressed already. A shard must have a single writer. Raises `Fatal` for an unknown modality,
        a block of another shape or dtype, and a store that cannot be written to, and `Transient` when it does not
        answer.
        """
        modality = self.modality(name)
        _check_block(modality, shard, block, self.manifest.size_px)
        self.unseal()
        key = self.object_key(name, shard)
        parts, codec = self._encoded(modality, shard, block, compressed or {}), self.chip_codec(name)
        digest, index_crc32c = self.store.replace(key, parts) or ABSENT, codec.index_crc32c(parts) if codec else None
        entry = Entry(
            shard.index, name, (shard.start, shard.stop), self.manifest.digest, modality.digest, digest,
            dict(missing), quality or {}, self._summarise(modality, shard, block), index_crc32c=index_crc32c,
        )  # fmt: skip
        self.ledger.mark(entry)
        return entry

    def _summarise(self, modality: Modality, shard: Shard, block: NDArray[Any]) -> statistics.Summary:
        train = self.manifest.column("split", shard.slice) == "train"
        column = modality.statistics_by
        values = self.manifest.column(column, shard.slice) if column else [statistics.EVERYTHING] * len(shard)
        groups = [str(value) if counts else None for value, counts in zip(values, train, strict=True)]
        return statistics.summarise(modality, block, groups)

    def chip_codec(self, name: str) -> ChipCodec | None:
        """The codec that compresses single chips of a modality; None if the store does not compress chips singly.

        Raises `Fatal` for an unknown modality, and when the array's metadata is absent.
        """
        if name not in self._codecs:
            self._codecs[name] = sharding.codec_of(self._array_metadata(name), self.modality(name).fill)
        return self._codecs[name]

    def _array_metadata(self, name: str) -> bytes:
        metadata = self.store.get(metadata_key(name))
        if metadata is None:
            raise Fatal(f"{self.store.url}/{name} has lost its {METADATA}; restore it from a copy.")
        return metadata

    def _encoded(
        self, modality: Modality, shard: Shard, block: NDArray[Any], compressed: Mapping[int, bytes]
    ) -> list[bytes]:
        codec = self.chip_codec(modality.name)
        if codec is None:
            return sharding.by_zarr(self._array_metadata(modality.name), shard, block)
        chips = zip(shard.rows, block, strict=True)
        return codec.joined(compressed[row] if row in compressed else codec.compressed(chip) for row, chip in chips)

    def object_key(self, name: str, shard: Shard) -> str:
        """The key in the store of the object that holds one shard of one modality."""
        rest = ["0"] * len(self.modality(name).shape(1))
        return "/".join([name, "c", str(shard.index), *rest])

    def object_path(self, name: str, shard: Shard) -> Path:
        """The file that holds one shard of one modality; absent when the whole shard is nodata.

        Raises `Fatal` for a store that is in no folder (`corpus.store.folder` is None then).
        """
        if self.store.folder is None:
            raise Fatal(f"{self.store.url} has no files; read it through `Corpus.read`.")
        return self.store.folder / self.object_key(name, shard)

    def verify(self, name: str, shard: Shard) -> bool:
        """Whether the stored object has the digest in the ledger; raises `Fatal` when there is no such entry."""
        digest = self.store.digest(self.object_key(name, shard)) or ABSENT
        return digest == self.ledger.read(name, shard.index).digest

    def read(self, name: str, rows: slice) -> NDArray[Any]:
        """Values (rows, bands[, y, x]) in the stored dtype; raises `Fatal` if a shard of these rows is not finished.

        The check is needed because an absent shard would read as nodata, without an error. Raises `Fatal` as well for
        a shard that is not the one in the ledger, and for a chip that is damaged.
        """
        touched = range(rows.start // self.shard_rows, (rows.stop - 1) // self.shard_rows + 1)
        pending = [index for index in touched if not self.is_finished(name, index)]
        if pending:
            raise unfinished(self.folder, name, pending[0])
        return self._values(name, rows)

    def _values(self, name: str, rows: slice) -> NDArray[Any]:
        touched = self.shards[rows.start // self.shard_rows : (rows.stop - 1) // self.shard_rows + 1]
        self._refuse_others(name, touched)
        with self.store.reading():
            array = zarr.open_array(self.store.zarr(read_only=True), path=name, mode="r")
            try:
                return np.asarray(array[rows])
            except UNDECODABLE as error:
                raise self._damage(array, name, touched, rows) from error

    def _refuse_others(self, name: str, shards: Iterable[Shard]) -> None:
        """Raise `Fatal` for a shard whose object is not the one in the ledger; each is looked at once."""
        unused = [shard for shard in shards if (name, shard.index) not in self._used]
        if unused:
            with ThreadPoolExecutor(_CHECKED_AT_ONCE) as pool:
                list(pool.map(partial(self._refuse_other_object, name), unused))
            self._used |= {(name, shard.index) for shard in unused}

    def _refuse_other_object(self, name: str, shard: Shard) -> None:
        (mark,) = self.ledger.marks(name, [shard.index])
        sharded, key = self.modality(name).extent == "pixel", self.object_key(name, shard)
        refuse_other_object(self.store, key, mark, self.shard_rows, sharded=sharded, folder=self.folder)

    def _damage(self, array: zarr.Array[Any], name: str, shards: Iterable[Shard], rows: slice) -> Fatal:
        """The error for rows that cannot be decoded, which names the first of them."""
        for shard in shards:
            for row in range(max(shard.start, rows.start), min(shard.stop, rows.stop)):
                try:
                    array[row]
                except UNDECODABLE:
                    return damaged(self.folder, name, shard.index, f"row {row} cannot be decoded")
        return damaged(self.folder, name, next(iter(shards)).index, f"one of rows {rows.start} to {rows.stop - 1}")

    def statistics(self, name: str) -> dict[str, list[statistics.BandStatistics]]:
        """Statistics of the train rows of a modality, per group and band, merged from the finished shards.

        Raises `Fatal` for a damaged ledger entry, and for one that is not as it was sealed.
        """
        self.modality(name)
        seal.check_entries(self.folder, self.ledger, name)
        return statistics.merge(entry.summary for entry in self.entries(name))

    def unseal(self) -> None:
        """Remove the seal; whatever changes a corpus that may be finished does this first.

        Raises `Fatal` when the store belongs to another corpus.
        """
        if not self._is_owned:
            store_owner.refuse_other(self.folder, self.store)
            self._is_owned = True
        seal.remove(self.folder)

    def finalize(self) -> None:
        """Publish `statistics.json`, consolidate the metadata, and seal everything small (last).

        Raises `Fatal` when the folder or the store cannot be written to.
        """
        self.unseal()
        self.publish_statistics()
        self.consolidate()
        seal.Seal.of(self.folder, self.store, self.ledger, self.modalities, len(self.shards)).write(self.folder)

    def publish_statistics(self) -> None:
        """Write `statistics.json` from the ledger; raises `Fatal` for a damaged entry, and where it cannot write."""
        data = {name: statistics.to_dict(self.statistics(name)) for name in sorted(self.modalities)}
        durable.write_json(self.folder / STATISTICS, data)

    def consolidate(self) -> None:
        """Copy the metadata of all arrays into that of the root, so that readers open the store with a single read."""
        with warnings.catch_warnings():
            # The Zarr v3 specification has no consolidated metadata yet, but xarray and zarr-python read it.
            warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)
            fence.check()
            zarr.consolidate_metadata(self.store.zarr(read_only=False))


def _check_block(modality: Modality, shard: Shard, block: NDArray[Any], size_px: int) -> None:
    expected = (len(shard), *modality.shape(size_px))
    if block.shape != expected or block.dtype != np.dtype(modality.dtype):
        raise Fatal(
            f"shard {shard.index} of {modality.name!r} is {block.dtype} {block.shape}, "
            f"but the store holds {modality.dtype} {expected}."
        )


def empty_block(modality: Modality, rows: int, size_px: int) -> NDArray[Any]:
    """A block (rows, bands[, y, x]) in the modality's dtype, filled with nodata."""
    return np.full((rows, *modality.shape(size_px)), modality.fill, dtype=modality.dtype)
