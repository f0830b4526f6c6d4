"""Chips already paid for, kept until their shard is written: a crash never pulls them again."""

from __future__ import annotations

import json
import math
import shutil
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from pipeline import durable
from pipeline.shard import Shard

SUFFIX = ".chip"
_HEAD = struct.Struct("<8sII")  # what it is, the checksum of all that follows, the length of the description
_MAGIC = b"geochip1"


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
    """One file per chip, `folder/<shard>/<row>.chip`; safe for many threads, one owner per shard.

    A file is a description in JSON and the values as they are in memory, under one checksum: NumPy's own npz took
    three times as long, a quarter of what a chip's request takes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, shard: Shard, row: int) -> Path:
        return self.folder / f"{shard.index:05d}" / f"{row:09d}{SUFFIX}"

    def put(self, shard: Shard, row: int, pulled: Pulled) -> None:
        """Keep a chip, whole or not at all, beside what is kept of it already: layers of an earlier run stay."""
        kept = self.get(shard, row)
        durable.write_checkable(self._path(shard, row), _packed(kept.join(pulled) if kept else pulled))

    def get(self, shard: Shard, row: int) -> Pulled | None:
        """A kept chip, not to be written to; None when there is none or its file is damaged (it is pulled again)."""
        try:
            return _unpacked(self._path(shard, row).read_bytes())
        except (OSError, ValueError, struct.error):
            return None

    def clear(self, shard: Shard) -> None:
        """Forget a shard's chips, once all of it is in the ledger."""
        shutil.rmtree(self._path(shard, 0).parent, ignore_errors=True)


def _packed(pulled: Pulled) -> list[bytes]:
    described = [(name, values.dtype.str, values.shape) for name, values in pulled.values.items()]
    description = json.dumps({"values": described, "missing": dict(pulled.missing)}).encode()
    parts = [description, *(values.tobytes() for values in pulled.values.values())]
    return [_HEAD.pack(_MAGIC, reduce(google_crc32c.extend, parts, 0), len(description)), *parts]


def _unpacked(content: bytes) -> Pulled:
    """Raises `ValueError` or `struct.error` for what `_packed` did not make, or not all of it."""
    magic, crc, length = _HEAD.unpack_from(content)
    rest = content[_HEAD.size :]
    if magic != _MAGIC or google_crc32c.value(rest) != crc:
        raise ValueError("the checksum differs")
    plain, start, values = json.loads(rest[:length]), length, {}
    for name, dtype, shape in plain["values"]:
        values[name] = np.frombuffer(rest, dtype, math.prod(shape), start).reshape(shape)
        start += values[name].nbytes
    return Pulled(values, plain["missing"])
