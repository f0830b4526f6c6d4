"""The copy of a corpus that is published: its arrays and ledger, and of the owner's columns only those asked for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline import seal
from pipeline.corpus import Corpus
from pipeline.corpus_folder import MANIFEST
from pipeline.errors import Fatal, unknown_name
from pipeline.first_use import other_object, refuse_other_object
from pipeline.layout import array_attributes
from pipeline.ledger import ABSENT, Entry
from pipeline.licence import UNKNOWN, Licence
from pipeline.manifest import Manifest
from pipeline.metadata import metadata_bytes, metadata_key, read_metadata
from pipeline.modality import Modality
from pipeline.progress import Progress
from pipeline.store import digest_of

_SPARE = 1.05  # of the objects' size: metadata, and what a file system takes for itself


@dataclass(frozen=True)
class Copying:
    """Copies `source`, or with `links` gives each object a second name on the same disk, which takes no space.

    Of objects that are copied the digest is compared on the way, of those that are linked the index alone. `columns`
    are those of the owner's that the copy has; `licences` are by layer.
    """

    source: Corpus
    columns: Sequence[str]
    licences: Mapping[str, Licence]
    links: bool

    def check(self, target: Path, brought_bytes: int) -> None:
        """Raise `Fatal` for a column that there is not, and where the target's disk cannot take the rest of the copy.

        `brought_bytes` of it an earlier run has brought to that disk.
        """
        for name in self.columns:
            if name not in self.source.manifest.own_columns:
                raise unknown_name("column of yours", name, self.source.manifest.own_columns)
        if self.links:
            self._refuse_unlinkable(target)
        else:
            self._refuse_too_small(target.parent, brought_bytes)

    def _refuse_too_small(self, folder: Path, brought_bytes: int) -> None:
        needed, free = self.source.store.size_bytes() * _SPARE - brought_bytes, shutil.disk_usage(folder).free
        if needed > free:
            raise Fatal(
                f"the copy takes {needed / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB free; choose "
                "another disk, or give --link, which takes no space on the disk of the corpus."
            )

    def _refuse_unlinkable(self, target: Path) -> None:
        folder = self.source.store.folder
        if folder is None or folder.stat().st_dev != target.parent.stat().st_dev:
            raise Fatal(f"{self.source.store.url} is not on the disk of {target}; leave out --link.")

    def write(self, folder: Path, progress: Progress) -> Corpus:
        """Bring what the copy in `folder` lacks, seal it, and return it.

        Raises `Fatal` for an object or a ledger entry that is not what was finished.
        """
        copy = self._begun(folder)
        names = sorted(self.source.modalities)
        progress.start("publish", len(names) * len(self.source.shards))
        for name in names:
            seal.check_entries(self.source.folder, self.source.ledger, name)
            there = copy.finished(name)
            for entry in self.source.entries(name):
                if entry.shard not in there:
                    self._bring(copy, entry)
                progress.advance()
        copy.finalize()
        return Corpus.open(folder)

    def _begun(self, folder: Path) -> Corpus:
        """The copy without its shards, or with those that an earlier run has brought."""
        if not (folder / MANIFEST).exists():
            self.source.manifest.with_own(self.columns).write(folder / MANIFEST)
        layers = [self._licensed(layer) for layer in self.source.modalities.values()]
        manifest, version = Manifest.read(folder / MANIFEST), self.source.format_version
        copy = Corpus.create(folder, layers, self.source.shard_rows, manifest=manifest, format_version=version)
        for layer in layers:
            # Objects are those of the source, so they are read with the codecs that it says.
            metadata = read_metadata(self.source.store, layer.name) | {"attributes": array_attributes(layer)}
            copy.store.put(metadata_key(layer.name), metadata_bytes(metadata))
        return copy

    def _licensed(self, layer: Modality) -> Modality:
        licence = self.licences[layer.name]
        return replace(layer, licence=None if licence == UNKNOWN else licence)

    def _bring(self, copy: Corpus, entry: Entry) -> None:
        if entry.digest != ABSENT:
            (self._link if self.links else self._copy)(copy, self._key(entry), entry)
        digest = copy.modality(entry.modality).digest
        copy.ledger.mark(replace(entry, manifest_digest=copy.manifest.digest, modality_digest=digest))

    def _key(self, entry: Entry) -> str:
        return self.source.object_key(entry.modality, self.source.shards[entry.shard])

    def _copy(self, copy: Corpus, key: str, entry: Entry) -> None:
        content = self.source.store.get(key) or b""
        if digest_of(content) != entry.digest:
            raise other_object(self.source.folder, entry.modality, entry.shard, "its digest is another one")
        copy.store.put(key, content)

    def _link(self, copy: Corpus, key: str, entry: Entry) -> None:
        sharded = self.source.modality(entry.modality).extent == "pixel"
        store, rows = self.source.store, self.source.shard_rows
        refuse_other_object(store, key, entry, rows, sharded=sharded, folder=self.source.folder)
        path = copy.object_path(entry.modality, copy.shards[entry.shard])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # of a run that was killed before its mark
        os.link(self.source.object_path(entry.modality, self.source.shards[entry.shard]), path)
