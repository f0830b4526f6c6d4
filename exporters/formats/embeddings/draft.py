"""Embeddings in work: a store that is filled part by part, by any number of processes, and goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from exporters.formats.embeddings.arrays import array_in
from exporters.formats.embeddings.layout import EMBEDDINGS, VALID_SHARE, StoreLayout
from pipeline import durable
from pipeline.errors import Fatal

_STORE, _PLAN, _DONE = "store.zarr", "plan.json", "done"
_DRAFT = ".begun.tmp"
Vectors = Mapping[str, NDArray[np.float32]]


def begun_beside(target: Path) -> Path:
    """The folder of what is not finished of a target."""
    return target.with_name(f".{target.name}{_DRAFT}")


@dataclass(frozen=True)
class EmbeddingDraft:
    """A store in `folder`, laid out as `layout` says, and marks of the parts that are in it whole."""

    folder: Path
    layout: StoreLayout

    @property
    def store(self) -> Path:
        """Where the store is."""
        return self.folder / _STORE

    def begin(self, target: Path) -> None:
        """Lay the store out, unless it is; raises `Fatal` where something else was begun for this target."""
        plan = {"description": self.layout.description.to_dict(), "rows": _digest(self.layout.rows),
                "chunk_rows": self.layout.chunk_rows}  # fmt: skip
        known = _plan_in(self.folder)
        if known is not None:
            _refuse_other(known, plan, target)
            durable.sweep(self.folder)
            return
        self.discard()
        self.layout.create(self.store)
        durable.sync_tree(self.store)
        durable.write_json(self.folder / _PLAN, plan)  # last: without it everything is begun anew

    def missing(self) -> list[int]:
        """The numbers of the parts that are not there yet."""
        done = {path.name for path in (self.folder / _DONE).glob("*")}
        return [part for part in range(len(self.layout.parts)) if str(part) not in done]

    @property
    def done_rows(self) -> int:
        """How many rows are there."""
        missing = sum(part.stop - part.start for part in (self.layout.parts[index] for index in self.missing()))
        return len(self.layout.rows) - missing

    def rows(self, part: int) -> NDArray[np.int64]:
        """The manifest rows of a part."""
        return self.layout.rows[self.layout.parts[part]]

    def write(self, part: int, vectors: Vectors, valid_share: Vectors) -> None:
        """Put a part in its place, and mark it; each file of it is whole or absent, and the mark comes last."""
        root, place = zarr.open_group(self.store, mode="r+"), self.layout.parts[part]
        for view in self.layout.description.names:
            for name, values in ((EMBEDDINGS, vectors[view]), (VALID_SHARE, valid_share[view])):
                array_in(root, f"{view}/{name}")[place] = values
                chunk = self.store / view / name / "c" / "/".join([str(part), *("0" for _ in values.shape[1:])])
                if chunk.exists():  # what is nodata alone has no file
                    durable.sync_file(chunk)
        durable.write_text(self.folder / _DONE / str(part), "")

    def fresh(self, name: str) -> Path:
        """A path in the draft's folder for what is made of the whole store, without what was there."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        return path

    def discard(self) -> None:
        """Remove all of it."""
        (self.folder / _PLAN).unlink(missing_ok=True)  # first: half of it is nothing
        shutil.rmtree(self.folder, ignore_errors=True)


def _plan_in(folder: Path) -> dict[str, Any] | None:
    """The plan of a draft whose store is there."""
    if not (folder / _PLAN).exists() or not (folder / _STORE).is_dir():
        return None
    return durable.read_object(folder / _PLAN, f"remove {folder} to begin anew")


def _refuse_other(known: Mapping[str, Any], plan: Mapping[str, Any], target: Path) -> None:
    if known == _as_json(plan):
        return
    was, now = known.get("description", {}), _as_json(plan)["description"]
    others = {"model_digest": "other weights", "corpus_digest": "another corpus", "without": "other channels left out"}
    what = next((text for key, text in others.items() if was.get(key) != now[key]), "other chips or settings")
    raise Fatal(f"{target} was begun with {what}; give the same again, or --overwrite to begin anew.")


def _as_json(plan: Mapping[str, Any]) -> dict[str, Any]:
    """A plan as its file gives it back: lists where it has tuples."""
    result: dict[str, Any] = json.loads(json.dumps(plan))
    return result


def _digest(rows: NDArray[np.int64]) -> str:
    return hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()
