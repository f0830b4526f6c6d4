"""An earlier state of a manifest that has grown: how many of its rows there were, and their digest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

KEY = b"geocorpus:ancestors"  # in the metadata of a grown manifest's Parquet file


@dataclass(frozen=True)
class Ancestor:
    """The first `rows` rows of a manifest; `digest` is that of the manifest which these rows once were."""

    rows: int
    digest: str


def to_metadata(ancestors: Iterable[Ancestor]) -> dict[bytes, bytes]:
    """Metadata of a Parquet file; none for a manifest that never grew."""
    data = [asdict(ancestor) for ancestor in ancestors]
    return {KEY: json.dumps(data).encode()} if data else {}


def from_metadata(metadata: Mapping[bytes, bytes]) -> tuple[Ancestor, ...]:
    """The inverse of `to_metadata`, oldest first; raises `ValueError` or `TypeError` for what it did not write."""
    return tuple(Ancestor(**item) for item in json.loads(metadata.get(KEY, b"[]")))
