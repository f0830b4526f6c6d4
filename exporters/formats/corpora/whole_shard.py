"""A shard that is taken whole is copied as it is: neither its object nor its statistics are made anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from exporters.formats.corpora.array_cut import shard_encoding
from exporters.formats.corpora.composition import Part
from pipeline.corpus import Corpus
from pipeline.first_use import other_object
from pipeline.ledger import ABSENT, Entry
from pipeline.measured import MEASURED
from pipeline.shard import Shard
from pipeline.store import digest_of


def is_whole(part: Part, shard: Shard, target: Corpus, source: Corpus) -> bool:
    """Whether a part is all of a source's shard, in its order, and all of a shard of the target."""
    as_it_is = len(part.rows) == len(part.shard) == len(shard) and np.array_equal(part.rows, part.shard.rows)
    return as_it_is and target.shard_rows == source.shard_rows


def is_cut_alike(source: Corpus, name: str, target: Corpus) -> bool:
    """Whether objects of a layer are made the same in both. Raises `Fatal` for metadata absent or damaged."""
    return shard_encoding(source, name) == shard_encoding(target, name)


def copy_shard(source: Corpus, name: str, whole: Shard, target: Corpus, shard: Shard) -> bool:
    """Copy the object and the entry of a shard of a layer that is cut alike, if they would be made the same.

    Returns whether they were. Raises `Fatal` for an object that is not the one in the ledger.
    """
    if whole.index not in source.finished(name):
        return False
    entry = source.ledger.read(name, whole.index)
    if entry.rows != (whole.start, whole.stop) or entry.modality_digest != target.modality(name).digest:
        return False
    if entry.digest != ABSENT:
        content = source.store.get(source.object_key(name, whole)) or b""
        if digest_of(content) != entry.digest:
            raise other_object(source.folder, name, whole.index, "its digest is another one")
        target.store.put(target.object_key(name, shard), content)
    target.ledger.mark(_moved(entry, shard, target.manifest.digest))
    return True


def _moved(entry: Entry, shard: Shard, manifest_digest: str) -> Entry:
    """The entry for rows elsewhere. What was found of the shard names rows, and is kept where they keep theirs."""
    by = shard.start - entry.rows[0]
    by_row = {name: found for name, found in entry.quality.items() if name == MEASURED}
    return replace(
        entry, shard=shard.index, rows=(shard.start, shard.stop), manifest_digest=manifest_digest,
        missing={row + by: reason for row, reason in entry.missing.items()}, quality=by_row if by else entry.quality,
    )  # fmt: skip
