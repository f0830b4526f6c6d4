"""Labelled images that stay in files: read by index when a batch needs them, the latest kept in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Fatal
from pipeline.statistics import EVERYTHING
from training.evaluate.legend import Legend
from training.evaluate.samples import Samples
from training.evaluate.tasks.label_task import LabelTask

CACHE_BYTES = 2**30
Read = Callable[[int], tuple[Mapping[str, NDArray[Any]], Any]]


@dataclass
class LazySamples:
    """`read` gives sample i of `count`: stored (bands, y, x) by layer, as for `Samples`, and its label.

    The label is one of `task`: a class index, (y, x) of them, or an array of the task's names. `group` is the group of
    statistics of all samples. At most `cache_bytes` of what was read stays in memory, the latest used.

    >>> import numpy as np
    >>> from training.evaluate.tasks.single_label import SingleLabel
    >>> def read(index):
    ...     return {"optical": np.full((2, 8, 8), index)}, index % 2
    >>> samples = LazySamples(read, 10, SingleLabel(("even", "odd")))
    >>> samples.of(np.array([3, 4])).labels.tolist()
    [1, 0]
    """

    read: Read
    count: int
    task: LabelTask
    legend: Legend | None = None
    group: str = EVERYTHING
    cache_bytes: int = CACHE_BYTES
    _kept: OrderedDict[int, tuple[Mapping[str, NDArray[Any]], NDArray[Any]]] = field(default_factory=OrderedDict)
    _bytes: int = 0

    def __len__(self) -> int:
        return self.count

    def of(self, rows: NDArray[np.int64]) -> Samples:
        """The samples at the indices `rows`. Raises `Fatal` for images of different sizes among them."""
        found = [self._sample(int(row)) for row in rows]
        stored = {name: _stacked([item[name] for item, _ in found]) for name in found[0][0]}
        labels = _stacked([label for _, label in found])
        return Samples(stored, labels, self.task.names, self.group, self.legend, self.task.kind)

    def _sample(self, row: int) -> tuple[Mapping[str, NDArray[Any]], NDArray[Any]]:
        if row not in self._kept:
            stored, label = self.read(row)
            self._kept[row] = stored, np.asarray(label)
            self._bytes += _size(self._kept[row])
            while self._bytes > self.cache_bytes and len(self._kept) > 1:
                self._bytes -= _size(self._kept.popitem(last=False)[1])
        self._kept.move_to_end(row)
        return self._kept[row]


def _size(sample: tuple[Mapping[str, NDArray[Any]], NDArray[Any]]) -> int:
    return sum(item.nbytes for item in sample[0].values()) + sample[1].nbytes


def _stacked(parts: list[NDArray[Any]]) -> NDArray[Any]:
    shapes = sorted({part.shape for part in parts})
    if len(shapes) > 1:
        raise Fatal(f"images of one data set must have one size, and shapes {shapes[0]} and {shapes[-1]} were found.")
    return np.stack(parts)
