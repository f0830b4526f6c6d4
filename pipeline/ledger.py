"""The record of finished (shard, modality) pairs: one small file each, written after the data is on disk."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import google_crc32c

from pipeline import durable
from pipeline.errors import Fatal

ABSENT = "absent"  # in place of the digest of a shard that is all nodata, for which Zarr writes no object


@dataclass(frozen=True)
class Mark:
    """A finished (shard, modality) and the digests it was written with; `digest` is the stored object's SHA-256.

    `index_crc32c` is of the object's index (see `pipeline.shard_object`): eight bytes of a large object tell whether it
    is this one. None for an object without an index, for no object, and in entries of older releases.
    """

    shard: int
    modality: str
    rows: tuple[int, int]
    manifest_digest: str
    modality_digest: str
    digest: str
    index_crc32c: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Entry(Mark):
    """A mark with the figures of its (shard, modality).

    `missing` maps a manifest row to the reason why the whole modality has no data there. `quality` holds figures of
    the values, taken when they were written. `summary` holds the statistics of the shard (see `pipeline.statistics`).
    """

    missing: Mapping[int, str] = field(default_factory=dict)
    quality: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)


_FILE = re.compile(r"([0-9]{5,})\.json")
# Keys are sorted and indented by one space: this text begins the last and by far the longest part of an entry.
_STATISTICS = b',\n "summary": '
# The last key of an entry: the CRC-32C of the bytes before it, as eight hexadecimal digits. Older entries have none.
_CHECKSUM = "text_crc32c"
_LAST = f',\n "{_CHECKSUM}": "'.encode()
_END = b'"\n}\n'
_LAST_BYTES = len(_LAST) + 8 + len(_END)


class Ledger:
    """The entries below one folder: `<modality>/<shard>.json`. They hold no times, so that equal work is equal bytes.

    With `only`, shards with other indices count as not done: a view of an earlier state of the corpus.
    """

    def __init__(self, folder: Path, only: Iterable[int] | None = None) -> None:
        self.folder = folder
        self._only = None if only is None else frozenset(only)

    def path(self, modality: str, shard: int) -> Path:
        """The file of an entry."""
        return self.folder / modality / f"{shard:05d}.json"

    def has(self, modality: str, shard: int) -> bool:
        """Whether `done` has this shard, without a look at the others."""
        return (self._only is None or shard in self._only) and self.path(modality, shard).exists()

    def mark(self, entry: Entry) -> None:
        """Record a finished (shard, modality); call it after its data is on disk.

        Raises `Fatal` when the folder cannot be written to.
        """
        durable.write_bytes(self.path(entry.modality, entry.shard), _text(entry))

    def renew(self, entry: Entry) -> None:
        """Record it unless that is recorded already, to the byte; raises as `mark` does."""
        if self.path(entry.modality, entry.shard).read_bytes() != _text(entry):
            self.mark(entry)

    def done(self, modality: str) -> frozenset[int]:
        """Indices of the finished shards of a modality, from the file names alone; files of others do not count."""
        try:
            names = os.listdir(self.folder / modality)  # ten times as fast as a glob, and asked for every chip shown
        except (FileNotFoundError, NotADirectoryError):
            names = []
        marked = frozenset(int(found[1]) for found in map(_FILE.fullmatch, names) if found)
        return marked if self._only is None else marked & self._only

    def read(self, modality: str, shard: int) -> Entry:
        """One entry; raises `Fatal` when it is absent or damaged."""
        path = self.path(modality, shard)
        data = durable.read_json(path)
        try:
            if not _is_as_written(path.read_bytes()):
                _refuse_changed(data)
            data.pop(_CHECKSUM, None)
            if not all(isinstance(data.get(name, {}), dict) for name in ("missing", "quality", "summary")):
                raise TypeError("an object is expected")
            if (data["modality"], data["shard"]) != (modality, shard):
                raise ValueError(f"it is of shard {data['shard']} of {data['modality']!r}")
            return _entry(data)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Fatal(f"{path} is damaged ({error}); delete it and export again.") from error

    def marks(self, modality: str, shards: Iterable[int]) -> list[Mark]:
        """The entries without their statistics, which take long to parse: a corpus has tens of thousands of entries.

        Raises `Fatal` as `read` does.
        """
        return list(self.without_statistics(modality, shards))

    def without_statistics(self, modality: str, shards: Iterable[int]) -> Iterator[Entry]:
        """The entries with an empty `summary`, one at a time: ten times as fast as reading them whole.

        Raises `Fatal` as `read` does.
        """
        for shard in shards:
            yield self._head(modality, shard) or replace(self.read(modality, shard), summary={})

    def _head(self, modality: str, shard: int) -> Entry | None:
        """An entry, read from the first part of its file; None for a file that `mark` did not write."""
        try:
            text = self.path(modality, shard).read_bytes()
            head, separator, _ = text.partition(_STATISTICS)
            entry = _entry(json.loads(head + b"}"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        whole = separator and text.endswith(b"}\n") and _is_as_written(text) is not False
        return entry if whole and (entry.modality, entry.shard) == (modality, shard) else None


def _entry(data: dict[str, Any]) -> Entry:
    """From what is in a file; raises `KeyError`, `TypeError`, `ValueError` or `AttributeError` for something else."""
    missing = {int(row): reason for row, reason in data["missing"].items()}
    return Entry(**data | {"missing": missing, "rows": tuple(data["rows"])})


def _text(entry: Entry) -> bytes:
    data = asdict(entry) | {"missing": {str(row): reason for row, reason in entry.missing.items()}}
    return with_checksum(durable.json_text(data))


def with_checksum(entry: str) -> bytes:
    """The text of an entry without its checksum, as the file holds it with the checksum."""
    text = entry.encode().removesuffix(b"\n}\n")
    return text + _LAST + _crc32c(text) + _END


def _crc32c(text: bytes) -> bytes:
    return f"{google_crc32c.value(text):08x}".encode()


def _is_as_written(text: bytes) -> bool | None:
    """Whether an entry's text has its checksum; None for a text that does not end with one."""
    last = text[-_LAST_BYTES:]
    if not (last.startswith(_LAST) and last.endswith(_END)):
        return None
    return last[len(_LAST) : -len(_END)] == _crc32c(text[:-_LAST_BYTES])


def _refuse_changed(data: Mapping[str, Any]) -> None:
    """Raise `ValueError` for an entry with other content than its checksum is of; other spaces are no other content."""
    if _CHECKSUM not in data:
        return
    rest = {name: value for name, value in data.items() if name != _CHECKSUM}
    text = with_checksum(durable.json_text(rest))
    if not text.endswith(str(data[_CHECKSUM]).encode() + _END):
        raise ValueError("its checksum is another one")
