"""The metadata of a store and of its arrays: JSON objects that Zarr calls `zarr.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipeline.errors import Fatal
from pipeline.store import METADATA, Store, Unreadable


def metadata_key(name: str) -> str:
    """The key of an array's metadata; that of the whole store for ""."""
    return f"{name}/{METADATA}".lstrip("/")


def read_metadata(store: Store, name: str) -> dict[str, Any]:
    """The metadata of an array, or of the whole store for ""; it has "attributes".

    Raises `Fatal` when it is absent or damaged.
    """
    key = metadata_key(name)
    try:
        data = json.loads(store.get(key) or b"")
    except (Unreadable, ValueError) as error:
        raise _damaged(store, key, str(error)) from error
    if not isinstance(data, dict) or not isinstance(data.get("attributes"), dict):
        raise _damaged(store, key, "it is no metadata of Zarr")
    return data


def metadata_bytes(data: Mapping[str, Any]) -> bytes:
    """Metadata as zarr-python writes them, to the byte."""
    return json.dumps(data, indent=2).encode()


def drop_consolidated(store: Store, unless_it_has: str | None = None) -> None:
    """Take the copies of arrays' metadata out of the root, or leave those that have the array `unless_it_has`.

    Whoever opens the store looks at each array's own then, and sees what has changed since they were copied. Does
    nothing where there are none. Raises `Fatal` as `read_metadata` does.
    """
    root = read_metadata(store, "")
    kept = root.pop("consolidated_metadata", None)
    if kept and unless_it_has not in kept["metadata"]:
        store.put(METADATA, metadata_bytes(root))


def _damaged(store: Store, key: str, why: str) -> Fatal:
    return Fatal(
        f"{store.url}/{key} is absent or damaged ({why}); `geocorpus verify --repair` on the corpus folder writes it "
        "anew where it can, otherwise restore it from a copy."
    )
