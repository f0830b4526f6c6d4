"""Chips already paid for, kept until their shard is written: a crash never pulls them again."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import durable
from pipeline.shard import Shard

_REASONS = "__missing__"


@dataclass(frozen=True)
class Pulled:
    """What came back for one chip: stored values per modality, and reasons for modalities without any data."""

    values: Mapping[str, NDArray[Any]]
    missing: Mapping[str, str] = field(default_factory=dict)

    def covers(self, names: tuple[str, ...]) -> bool:
        """Whether every one of `names` is either here or has a reason."""
        return all(name in self.values or name in self.missing for name in names)

    def join(self, other: Pulled) -> Pulled:
        """Both, `other` first where they overlap."""
        values = {name: value for name, value in self.values.items() if name not in other.missing}
        missing = {name: reason for name, reason in self.missing.items() if name not in other.values}
        return Pulled({**values, **other.values}, {**missing, **other.missing})


class Spool:
    """One npz file per chip below `folder/<shard>/<row>.npz`; safe for many threads, one owner per shard."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, shard: Shard, row: int) -> Path:
        return self.folder / f"{shard.index:05d}" / f"{row:09d}.npz"

    def put(self, shard: Shard, row: int, pulled: Pulled) -> None:
        """Keep a chip, whole or not at all, beside what is kept of it already: layers of an earlier run stay."""
        kept = self.get(shard, row)
        pulled = kept.join(pulled) if kept else pulled
        reasons = np.frombuffer(json.dumps(dict(pulled.missing)).encode(), dtype=np.uint8)
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {**pulled.values, _REASONS: reasons}
        np.savez(buffer, **arrays)
        # np.load checks the sums of the zip file, so that a torn one counts as none.
        durable.write_checkable(self._path(shard, row), buffer.getbuffer())

    def get(self, shard: Shard, row: int) -> Pulled | None:
        """A kept chip; None when there is none or its file is damaged (it is then pulled again)."""
        try:
            with np.load(self._path(shard, row)) as kept:
                values = {name: kept[name] for name in kept.files if name != _REASONS}
                return Pulled(values, json.loads(kept[_REASONS].tobytes()))
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            return None

    def clear(self, shard: Shard) -> None:
        """Forget a shard's chips, once all of it is in the ledger."""
        shutil.rmtree(self._path(shard, 0).parent, ignore_errors=True)
