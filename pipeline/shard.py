"""A shard: a range of rows; the unit of work, of writing and of reading."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import Fatal


@dataclass(frozen=True, order=True)
class Shard:
    """Rows `start` (inclusive) to `stop` (exclusive) of the manifest."""

    index: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def rows(self) -> range:
        """Row numbers of the manifest."""
        return range(self.start, self.stop)

    @property
    def slice(self) -> slice:
        """The rows as a slice along an array's first axis."""
        return slice(self.start, self.stop)


def shards_of(row_count: int, shard_rows: int) -> tuple[Shard, ...]:
    """Cut `row_count` rows into shards of `shard_rows`; the last may be shorter. Raises `Fatal` for below 1 row."""
    if shard_rows < 1:
        raise Fatal(f"shard_rows must be at least 1, not {shard_rows}.")
    starts = range(0, row_count, shard_rows)
    return tuple(Shard(index, start, min(start + shard_rows, row_count)) for index, start in enumerate(starts))
