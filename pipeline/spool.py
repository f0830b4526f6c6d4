"""Pulled chips, stored on disk until their shard is written, so that they are not pulled again after a crash."""

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

from pipeline import durable, fence
from pipeline.shard import Shard

SUFFIX = ".chip"
_HEAD = struct.Struct("<8sII")  # magic number, CRC-32C of all that follows, length of the description in bytes
_MAGIC = b"geochip\x01"


@dataclass(frozen=True)
class ChipResult:
    """The pulled data of one chip: `values` (bands[, y, x]) in the stored dtype by modality, and missing reasons.

    `missing` maps a modality without any data to the reason. `compressed` holds the bytes that the store will keep,
    for those modalities whose values are compressed already.
    """

    values: Mapping[str, NDArray[Any]]
    missing: Mapping[str, str] = field(default_factory=dict)
    compressed: Mapping[str, bytes] = field(default_factory=dict)

    def covers(self, names: tuple[str, ...]) -> bool:
        """Whether each of `names` has values or a missing reason."""
        return all(name in self.values or name in self.missing for name in names)

    def join(self, other: ChipResult) -> ChipResult:
        """Both together; `other` wins for modalities that both have."""
        values = {name: value for name, value in self.values.items() if name not in other.missing}
        missing = {name: reason for name, reason in self.missing.items() if name not in other.values}
        compressed = {name: content for name, content in self.compressed.items() if not other.covers((name,))}
        return ChipResult({**values, **other.values}, {**missing, **other.missing}, {**compressed, **other.compressed})

    def renamed(self, names: Mapping[str, str]) -> ChipResult:
        """Only the modalities in `names` (old name to new name), under their new names."""
        return ChipResult(_renamed(self.values, names), _renamed(self.missing, names), _renamed(self.compressed, names))


def _renamed(named: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names[old]: value for old, value in named.items() if old in names}


class Spool:
    """One file per chip, `folder/<shard>/<row>.chip`; safe for many threads, one owner per shard.

    A file holds a checksum, a description in JSON and the bytes of every layer, compressed if they are already.
    Compression cuts the size to two fifths: 100 chips of 128 pixels per second are 40 MB/s to disk instead of 95.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, shard: Shard, row: int) -> Path:
        return self.folder / f"{shard.index:05d}" / f"{row:09d}{SUFFIX}"

    def put(self, shard: Shard, row: int, pulled: ChipResult) -> None:
        """Store a chip, whole or not at all. Layers of the chip that an earlier run stored stay.

        Raises `Fatal` when the folder cannot be written to.
        """
        stored = self.get(shard, row)
        durable.write_checkable(self._path(shard, row), _packed(stored.join(pulled) if stored else pulled))

    def get(self, shard: Shard, row: int) -> ChipResult | None:
        """A stored chip, with read-only arrays; None when it is absent or its file is damaged (it is pulled again)."""
        try:
            return _unpacked(self._path(shard, row).read_bytes())
        except (OSError, ValueError, TypeError, KeyError, RuntimeError, struct.error):
            return None

    def clear(self, shard: Shard) -> None:
        """Delete the chips of a shard, after the whole shard is in the ledger."""
        fence.check()
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
    """The chip in a file; raises `ValueError` or `struct.error` for a file that is cut or not made by `_packed`."""
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
