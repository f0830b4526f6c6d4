"""The regional means of a shard, some chips a request: asked for by the thread that first needs one of them."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice

from exporters.earth_engine.batch_size import OneTooLarge
from exporters.pull.pull import Puller
from pipeline.chip import Chip
from pipeline.errors import Transient
from pipeline.modality import Modality
from pipeline.spool import ChipResult


@dataclass(frozen=True)
class _Part:
    """Chips of one request, and what came: by manifest row, results or the errors that kept them away."""

    chips: Sequence[Chip]
    answer: Future[Mapping[int, ChipResult | Exception]] = field(default_factory=Future)


class RegionalMeans:
    """Means of `layers` over `chips`. Every thread first lets `begin` and later asks `of` for the same row.

    So means come while the pixels do, and a part that fails is the failure of its own chips alone. After a `Transient`,
    for which patience was spent already, no other part is asked for.
    """

    def __init__(self, puller: Puller, chips: Sequence[Chip], layers: Sequence[Modality]) -> None:
        self._puller, self._layers = puller, layers
        self._given_up: Exception | None = None
        self._waiting = {chip.row: chip for chip in chips}
        self._parts: dict[int, _Part] = {}
        self._lock = threading.Lock()

    def begin(self, row: int) -> None:
        """Ask for a part with this row, unless another thread does. Raises what is no matter of these chips."""
        part = self._taken(row)
        if part is None:
            return
        try:
            part.answer.set_result(self._asked(part.chips))
        except BaseException as error:
            part.answer.set_exception(error)
            raise

    def of(self, row: int) -> ChipResult | Exception | None:
        """The means of a row, or the error that kept them away; None where none are wanted. Waits for `begin`."""
        part = self._parts.get(row)
        return None if part is None else part.answer.result()[row]

    def _taken(self, row: int) -> _Part | None:
        """This chip and the next ones, as many as a request may carry by now; None where a part has it already."""
        with self._lock:
            if row not in self._waiting:
                return None
            first, size = self._waiting.pop(row), self._puller.rows.limit
            others = [self._waiting.pop(each) for each in list(islice(self._waiting, size - 1))]
            part = _Part([first, *others])
            self._parts |= {chip.row: part for chip in part.chips}
            return part

    def _asked(self, chips: Sequence[Chip]) -> Mapping[int, ChipResult | Exception]:
        """Every chip's means, or why it has none; a chip that is refused alone keeps none from those behind it."""
        means: dict[int, ChipResult | Exception] = {}
        while len(means) < len(chips):
            remaining = [chip for chip in chips if chip.row not in means]
            if self._given_up is not None:
                return means | {chip.row: self._given_up for chip in remaining}
            try:
                for answer in self._puller.region_answers(remaining, self._layers):
                    means |= answer
            except OneTooLarge as error:
                means[next(chip.row for chip in remaining if chip.row not in means)] = error
            except Transient as error:
                self._given_up = error
        return means
