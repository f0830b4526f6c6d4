"""A store for more rows: once its manifest has grown, arrays get their new shape, and the objects of shards stay."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipeline.metadata import metadata_bytes, metadata_key, read_metadata
from pipeline.modality import Modality
from pipeline.store import METADATA, Store

# In the attributes of an array whose classes became more: by the digest of a manifest's state, how many it had.
FORMER_CLASSES = "geocorpus_former_classes"


def grow(store: Store, fresh: Mapping[str, memoryview | bytes], rows: int) -> None:
    """Give every array along the rows the length `rows`, and replace coordinates and root metadata by `fresh` objects.

    The root is written last: until then the store belongs to the shorter manifest, and the same call begins anew. Its
    other attributes stay; consolidated metadata, in which all shapes are the old ones, go.
    """
    coordinates = {key.partition("/")[0] for key in fresh if key != METADATA}
    for name in store.names():
        if name not in coordinates:
            _lengthen(store, name, rows)
    for key in sorted(fresh.keys() - {METADATA}, key=lambda key: (key.endswith(METADATA), key)):
        store.put(key, fresh[key])
    store.put(METADATA, _root(read_metadata(store, ""), json.loads(bytes(fresh[METADATA]))))


def _lengthen(store: Store, name: str, rows: int) -> None:
    key = metadata_key(name)
    data = read_metadata(store, name) if store.get(key) is not None else {}
    if (data.get("dimension_names") or [None])[0] == "chip" and data["shape"][0] != rows:
        store.put(key, metadata_bytes(data | {"shape": [rows, *data["shape"][1:]]}))


def _root(old: Mapping[str, Any], fresh: Mapping[str, Any]) -> bytes:
    digest = {"manifest_digest": fresh["attributes"]["manifest_digest"]}
    return metadata_bytes({**fresh, "attributes": old["attributes"] | digest})


def is_extended_by(known: Modality, other: Modality) -> bool:
    """Whether `other` is `known` with more classes behind those that it has, so that stored codes keep their index."""
    count = len(known.categories)
    return 0 < count < len(other.categories) and other.with_categories(other.categories[:count]) == known


def is_before_ranges_of(known: Modality, other: Modality) -> bool:
    """Whether `known` is `other` before its bands had valid ranges of their own: what is stored is the same."""
    return other != known and other.without_ranges_of_bands() == known


def holds_classes_of(known: Modality, other: Modality) -> bool:
    """Whether `known` is `other` with more classes, in whatever order."""
    return set(other.categories) <= set(known.categories) and other.with_categories(known.categories) == known


def former(modality: Modality, attributes: Mapping[str, Any]) -> list[Modality]:
    """The layer as it was when it had fewer classes, by the attributes of its array."""
    counts = sorted(set(attributes.get(FORMER_CLASSES, {}).values()))
    return [modality.with_categories(modality.categories[:count]) for count in counts]


def as_of(modality: Modality, attributes: Mapping[str, Any], later: list[str]) -> Modality:
    """The layer as it was at a state of the manifest: `later` are the digests of that state and of those after it."""
    counts = attributes.get(FORMER_CLASSES, {})
    count = next((counts[digest] for digest in later if digest in counts), len(modality.categories))
    return modality if count == len(modality.categories) else modality.with_categories(modality.categories[:count])
