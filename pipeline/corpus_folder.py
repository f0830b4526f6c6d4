"""The folder of a corpus: the names of its files, and the store that it has."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from pipeline import durable
from pipeline.errors import Fatal
from pipeline.lock import RUNS
from pipeline.store import METADATA, Store
from pipeline.store_url import store_at

MANIFEST = "manifest.parquet"
LOCATIONS = "locations.parquet"
LEDGER = "ledger"
EXTENSIONS = "extensions"  # what was sampled and anchored when the corpus grew, a folder for each time
STATISTICS = "statistics.json"
PROVENANCE = "provenance.json"  # of a corpus that was put together from others: which, and in which state
SOURCES = "sources"  # lists of the files that layers were read from, a table for each layer
PLACE = "store.json"  # holds the URL of the store if that is not in the folder
STORE = "corpus.zarr"  # the usual place of the store


def no_corpus(folder: Path) -> Fatal:
    """The error about a folder whose corpus is not there, or has no arrays yet; every command has this sentence."""
    if (folder / MANIFEST).exists() and has_finished(folder):
        return Fatal(
            f"the store of the corpus in {folder} is lost or has lost its {METADATA}, though shards are finished; see "
            f"that its disk is there, then run `geocorpus verify {folder}`, which says what mends it."
        )
    if (folder / MANIFEST).exists():
        return Fatal(f"the corpus in {folder} has no arrays yet; run `geocorpus export {folder}` first.")
    if (folder / LOCATIONS).exists():
        return Fatal(f"the corpus in {folder} has no manifest yet; run `geocorpus anchor {folder}` first.")
    return Fatal(f"there is no corpus in {folder}; check the path, or begin one with `geocorpus build`.")


def has_finished(folder: Path) -> bool:
    """Whether the ledger lists a shard."""
    return any((folder / LEDGER).glob("*/*.json"))


def place_of(folder: Path, url: str | None = None) -> Store:
    """The store of the corpus in `folder`: `url` for a new one, by default `corpus.zarr` in the folder.

    Raises `Fatal` when the corpus already has a store at another URL than `url`, and for a URL that cannot be used.
    """
    default, recorded = store_at(str(folder / STORE)), folder / PLACE
    known = store_at(_recorded(recorded)) if recorded.exists() else default
    requested = known if url is None else _absolute(store_at(url))
    if requested.folder and requested.folder == (folder / STORE).absolute():
        requested = default
    if requested.url != known.url and (recorded.exists() or known.exists):
        raise Fatal(
            f"the corpus in {folder} has its store at {known.url}, not at {requested.url}; keep corpus.store as it was "
            f"(a store that was moved is named in {recorded})."
        )
    return requested


def refuse_read_only(folder: Path) -> None:
    """Raise `Fatal` for a corpus whose folder takes no runs, and say how to train on it from another one."""
    runs = folder / RUNS
    known = runs if runs.exists() else folder
    if folder.is_dir() and not (known.is_dir() and os.access(known, os.W_OK)):
        store = place_of(folder)
        named = json.dumps({"store": str(store.folder.absolute()) if store.folder else store.url})
        raise Fatal(
            f"training writes to {runs}, which you may not write to; copy {folder} without its {STORE} to one of "
            f"yours, write {named} to {PLACE} there, and train on the copy."
        )


@dataclass(frozen=True)
class _Place:
    """The content of `store.json`."""

    store: str


def _recorded(path: Path) -> str:
    remedy = 'restore it from a copy, or write it anew as {"store": "the URL of the store"}'
    return durable.read_as(path, _Place, remedy).store


def _absolute(store: Store) -> Store:
    """The store with an absolute path, which does not depend on the working folder."""
    return store_at(str(store.folder.absolute())) if store.folder else store
