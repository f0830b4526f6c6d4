"""Chips already paid for, kept until their shard is written: a crash never pulls them again."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray

from pipeline import durable
from pipeline.shard import Shard

SUFFIX = ".chip"
_HEAD = struct.Struct("<8sII")  # what it is, the checksum of all that follows, the length of the description
_MAGIC = b"geochip\x01"


@dataclass(frozen=True)
class ChipResult:
    """What came back for one chip: stored values per modality, and reasons for modalities without any data.

    `compressed` holds the same values again as the store will keep them, where that was done already.
    """

    values: Mapping[str, NDArray[Any]]
    missing: Mapping[str, str] = field(default_factory=dict)
    compressed: Mapping[str, bytes] = field(default_factory=dict)

    def covers(self, names: tuple[str, ...]) -> bool:
        """Whether every one of `names` is either here or has a reason."""
        return all(name in self.values or name in self.missing for name in names)

    def join(self, other: ChipResult) -> ChipResult:
        """Both, `other` first where they overlap."""
        values = {name: value for name, value in self.values.items() if name not in other.missing}
        missing = {name: reason for name, reason in self.missing.items() if name not in other.values}
        compressed = {name: content for name, content in self.compressed.items() if not other.covers((name,))}
        return ChipResult({**values, **other.values}, {**missing, **other.missing}, {**compressed, **other.compressed})

    def renamed(self, names: Mapping[str, str]) -> ChipResult:
        """Only what `names` mentions, under its new names."""
        return ChipResult(_renamed(self.values, names), _renamed(self.missing, names), _renamed(self.compressed, names))


def _renamed(named: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names[old]: value for old, value in named.items() if old in names}


class Spool:
    """One file per chip, `folder/<shard>/<row>.chip`; safe for many threads, one owner per shard.

    A file is a description in JSON and every layer's bytes, compressed where that was done, under one checksum.
    Compressed it is two fifths of the size: at 100 chips of 128 pixels a second, a disk takes 40 MB/s and not 95.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, shard: Shard, row: int) -> Path:
        return self.folder / f"{shard.index:05d}" / f"{row:09d}{SUFFIX}"

    def put(self, shard: Shard, row: int, pulled: ChipResult) -> None:
        """Keep a chip, whole or not at all, beside what is kept of it already: layers of an earlier run stay."""
        kept = self.get(shard, row)
        durable.write_checkable(self._path(shard, row), _packed(kept.join(pulled) if kept else pulled))

    def get(self, shard: Shard, row: int) -> ChipResult | None:
        """A kept chip, not to be written to; None when there is none or its file is damaged (it is pulled again)."""
        try:
            return _unpacked(self._path(shard, row).read_bytes())
        except (OSError, ValueError, struct.error):
            return None

    def clear(self, shard: Shard) -> None:
        """Forget a shard's chips, once all of it is in the ledger."""
        shutil.rmtree(self._path(shard, 0).parent, ignore_errors=True)


def _packed(pulled: ChipResult) -> list[bytes]:
    parts = [pulled.compressed.get(name) or values.tobytes() for name, values in pulled.values.items()]
    described = [
        (name, values.dtype.str, values.shape, len(part), bool(pulled.compressed.get(name)))
        for (name, values), part in zip(pulled.values.items(), parts, strict=True)
    ]
    description = json.dumps({"values": described, "missing": dict(pulled.missing)}).encode()
    parts.insert(0, description)
    return [_HEAD.pack(_MAGIC, reduce(google_crc32c.extend, parts, 0), len(description)), *parts]


def _unpacked(content: bytes) -> ChipResult:
    """Raises `ValueError` or `struct.error` for what `_packed` did not make, or not all of it."""
    magic, crc, start = _HEAD.unpack_from(content)
    rest = content[_HEAD.size :]
    if magic != _MAGIC or google_crc32c.value(rest) != crc:
        raise ValueError("the checksum differs")
    data = json.loads(rest[:start])
    values, compressed = {}, {}
    for name, dtype, shape, length, is_compressed in data["values"]:
        part = rest[start : start + length]
        values[name] = np.frombuffer(blosc.decompress(part) if is_compressed else part, dtype).reshape(shape)
        if is_compressed:
            compressed[name] = part
        start += length
    return ChipResult(values, data["missing"], compressed)
