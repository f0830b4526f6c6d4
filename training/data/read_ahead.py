"""Has whole runs of chips fetched before they are decoded: several at once, in the order in which they are needed."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from training.data.chip_reader import ChipReader

AT_ONCE = 48  # requests, or reads of a disk: runs of eight chips are read faster than a bucket answers
_RUN_ROWS = 64  # the most that come with one request
_GAP_ROWS = 16  # Rows that are not needed inside of a run; what lies between its chips, the store decides.


class Run:
    """Neighbouring rows of one shard, and for each layer the reader that has them at hand."""

    def __init__(self, readers: Mapping[str, Future[ChipReader]]) -> None:
        self._coming = readers
        self._come: dict[str, ChipReader] = {}  # A look into it is ten times faster than one at what has come.

    def reader(self, name: str) -> ChipReader:
        """Waits for it; raises what kept it from coming."""
        return self._come.get(name) or self._come.setdefault(name, self._coming[name].result())


class ReadAhead:
    """Goes ahead of whoever decodes `rows`, given job by job: `advance` before each job, then `take` each of its rows.

    When a row is `spread` rows or less ahead, it is fetched with all its neighbours that are needed within `spread`
    rows after it. So compressed chips of at most twice `spread` rows are held, besides those of a job. `close` it.
    """

    def __init__(
        self, readers: Mapping[str, ChipReader], shard_rows: int, rows: Iterator[Sequence[int]], spread: int
    ) -> None:
        self._readers, self._shard_rows, self._rows, self._spread = readers, shard_rows, rows, spread
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="loader-ahead")
        self._lock = threading.Lock()
        self._runs: dict[int, deque[Run]] = {}
        self._coming: deque[int] = deque()  # rows that are known and not looked at yet
        self._wanted: dict[int, deque[int]] = {}  # where in `rows` a row is needed; without those that a run has
        self._taken = self._looked_at = self._known = 0

    def advance(self, count: int) -> None:
        """Have what is needed next fetched, as the next `count` rows are about to be taken."""
        self._taken += count
        self._know(self._taken + 2 * self._spread)
        while self._coming and self._looked_at < self._taken + self._spread:
            self._looked_at += 1
            row = self._coming.popleft()
            if self._is_wanted(row):
                rows = sorted([*self._beside(row, -1), row, *self._beside(row, 1)])
                for start in range(0, len(rows), _RUN_ROWS):
                    self._start(rows[start : start + _RUN_ROWS])

    def _know(self, count: int) -> None:
        while self._known < count and (rows := next(self._rows, None)) is not None:
            self._coming.extend(rows)
            for position, row in enumerate(rows, self._known):
                self._wanted.setdefault(row, deque()).append(position)
            self._known += len(rows)

    def _is_wanted(self, row: int) -> bool:
        """Whether a row is needed within `spread` rows, and no run has it."""
        return row in self._wanted and self._wanted[row][0] < self._looked_at + self._spread

    def _beside(self, row: int, step: int) -> Iterator[int]:
        """Wanted rows of the same shard that follow `row` in one direction without a large gap."""
        shard, last = row // self._shard_rows, row
        while abs(row - last) <= _GAP_ROWS:
            row += step
            if row // self._shard_rows != shard:
                return
            if self._is_wanted(row):
                last = row
                yield row

    def _start(self, rows: list[int]) -> None:
        run = Run({name: self._pool.submit(reader.fetched, rows) for name, reader in self._readers.items()})
        with self._lock:
            for row in rows:
                self._runs.setdefault(row, deque()).append(run)
        for row in rows:
            self._wanted[row].popleft()
            if not self._wanted[row]:
                del self._wanted[row]

    def take(self, row: int) -> Run:
        """The run that has a row of a job that was advanced to; each is taken once."""
        with self._lock:
            runs = self._runs[row]
            run = runs.popleft()
            if not runs:
                del self._runs[row]
        return run

    def close(self) -> None:
        """Stop, and wait for what is on its way."""
        self._pool.shutdown(cancel_futures=True)
