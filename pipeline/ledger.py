"""Which (shard, modality) is done: one small file each, written after the data, so that existing means complete."""

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
    """That a (shard, modality) was finished, and as what; `digest` is the SHA-256 of the stored object."""

    shard: int
    modality: str
    rows: tuple[int, int]
    manifest_digest: str
    modality_digest: str
    digest: str


@dataclass(frozen=True)
class Entry(Mark):
    """What is known of one finished (shard, modality).

    `missing` maps a manifest row to the reason why the whole modality has no data there; `quality` is what was seen
    of the values when they were written; `summary` holds the statistics of the shard (see `pipeline.statistics`).
    """

    missing: Mapping[int, str] = field(default_factory=dict)
    quality: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)


_MARK = tuple(one.name for one in fields(Mark))
# Keys are sorted and indented by one: this begins the last and by far the longest part of an entry.
_STATISTICS = b',\n "summary": '


class Ledger:
    """The entries below one folder: `<modality>/<shard>.json`. Holds no clock, so equal work is equal bytes.

    With `only`, shards with other indices count as not done: a view of a corpus as it was.
    """

    def __init__(self, folder: Path, only: Iterable[int] | None = None) -> None:
        self.folder = folder
        self._only = None if only is None else frozenset(only)

    def path(self, modality: str, shard: int) -> Path:
        """Where an entry is kept."""
        return self.folder / modality / f"{shard:05d}.json"

    def mark(self, entry: Entry) -> None:
        """Record finished work; call it after the data are on disk."""
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
        """What these entries say first: a corpus has tens of thousands, and their statistics take long to parse.

        Raises `Fatal` as `read` does.
        """
        return [self._without_statistics(modality, shard) or self.read(modality, shard) for shard in shards]

    def _without_statistics(self, modality: str, shard: int) -> Mark | None:
        """A mark from the first part of its file; None for a file that is not as `mark` writes it."""
        try:
            text = self.path(modality, shard).read_bytes()
            head, result, _ = text.partition(_STATISTICS)
            data = json.loads(head + b"}")
            mark = Mark(**{name: data[name] for name in _MARK} | {"rows": tuple(data["rows"])})
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return mark if result and text.endswith(b"}\n") else None
