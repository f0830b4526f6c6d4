"""The record of finished (shard, modality) pairs: one small file each, written after the data is on disk."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from pipeline import durable
from pipeline.errors import Fatal


@dataclass(frozen=True)
class Mark:
    """A finished (shard, modality) and the digests it was written with; `digest` is the stored object's SHA-256."""

    shard: int
    modality: str
    rows: tuple[int, int]
    manifest_digest: str
    modality_digest: str
    digest: str


@dataclass(frozen=True)
class Entry(Mark):
    """A mark with the figures of its (shard, modality).

    `missing` maps a manifest row to the reason why the whole modality has no data there. `quality` holds figures of
    the values, taken when they were written. `summary` holds the statistics of the shard (see `pipeline.statistics`).
    """

    missing: Mapping[int, str] = field(default_factory=dict)
    quality: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)


_MARK = tuple(item.name for item in fields(Mark))
# Keys are sorted and indented by one space: this text begins the last and by far the longest part of an entry.
_STATISTICS = b',\n "summary": '


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

    def mark(self, entry: Entry) -> None:
        """Record a finished (shard, modality); call it after its data is on disk.

        Raises `Fatal` when the folder cannot be written to.
        """
        data = asdict(entry) | {"missing": {str(row): reason for row, reason in entry.missing.items()}}
        durable.write_json(self.path(entry.modality, entry.shard), data)

    def done(self, modality: str) -> frozenset[int]:
        """Indices of the finished shards of a modality, from the file names alone."""
        marked = frozenset(int(path.stem) for path in (self.folder / modality).glob("[0-9]*.json"))
        return marked if self._only is None else marked & self._only

    def read(self, modality: str, shard: int) -> Entry:
        """One entry; raises `Fatal` when it is absent or damaged."""
        path = self.path(modality, shard)
        data = durable.read_json(path)
        try:
            data["missing"] = {int(row): reason for row, reason in data["missing"].items()}
            data["rows"] = tuple(data["rows"])
            return Entry(**data)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Fatal(f"{path} is damaged ({error}); delete it and export again.") from error

    def marks(self, modality: str, shards: Iterable[int]) -> list[Mark]:
        """The entries without their statistics, which take long to parse: a corpus has tens of thousands of entries.

        Raises `Fatal` as `read` does.
        """
        return [self._without_statistics(modality, shard) or self.read(modality, shard) for shard in shards]

    def _without_statistics(self, modality: str, shard: int) -> Mark | None:
        """A mark, read from the first part of its file; None for a file that `mark` did not write."""
        try:
            text = self.path(modality, shard).read_bytes()
            head, separator, _ = text.partition(_STATISTICS)
            data = json.loads(head + b"}")
            mark = Mark(**{name: data[name] for name in _MARK} | {"rows": tuple(data["rows"])})
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return mark if separator and text.endswith(b"}\n") else None
