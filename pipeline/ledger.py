"""Which (shard, modality) is done: one small file each, written after the data, so that existing means complete."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline import durable
from pipeline.errors import Fatal


@dataclass(frozen=True)
class Entry:
    """What is known of one finished (shard, modality).

    `digest` is the SHA-256 of the stored object; `missing` maps a manifest row to the reason why the whole
    modality has no data there; `summary` holds the statistics of the shard (see `pipeline.statistics`).
    """

    shard: int
    modality: str
    rows: tuple[int, int]
    manifest_digest: str
    modality_digest: str
    digest: str
    missing: Mapping[int, str] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)


class Ledger:
    """The entries below one folder: `<modality>/<shard>.json`. Holds no clock, so equal work is equal bytes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, modality: str, shard: int) -> Path:
        """Where an entry is kept."""
        return self.folder / modality / f"{shard:05d}.json"

    def mark(self, entry: Entry) -> None:
        """Record finished work; call it after the data are on disk."""
        plain = asdict(entry) | {"missing": {str(row): reason for row, reason in entry.missing.items()}}
        durable.write_json(self.path(entry.modality, entry.shard), plain)

    def done(self, modality: str) -> frozenset[int]:
        """Indices of the finished shards of a modality, from the file names alone."""
        return frozenset(int(path.stem) for path in (self.folder / modality).glob("[0-9]*.json"))

    def read(self, modality: str, shard: int) -> Entry:
        """One entry; raises `Fatal` when it is absent or damaged."""
        path = self.path(modality, shard)
        plain = durable.read_json(path)
        try:
            plain["missing"] = {int(row): reason for row, reason in plain["missing"].items()}
            plain["rows"] = tuple(plain["rows"])
            return Entry(**plain)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Fatal(f"{path} is damaged ({error}); delete it and export again.") from error

    def entries(self, modality: str) -> list[Entry]:
        """All entries of a modality, by shard."""
        return [self.read(modality, shard) for shard in sorted(self.done(modality))]

    def forget(self, modality: str, shard: int) -> None:
        """Declare work undone, so that the next run does it again."""
        self.path(modality, shard).unlink(missing_ok=True)
