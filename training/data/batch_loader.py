"""From shards to batches: the order follows from (seed, epoch), and batch `step` is a pure function of `step`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from training.batch import Batch, Raw
from training.config import PretrainConfig
from training.data.chip_cache import ChipCache
from training.data.decode import Decoder
from training.data.device_prefetcher import DevicePrefetcher
from training.data.left_out import not_trained_on
from training.data.masking import crops_yx, draw_keys, symmetries, visible_patches
from training.data.order import Position, blocks_of, finished_shards, order_of, shards_of
from training.data.read_ahead import ReadAhead
from training.data.stream import Buffer, Job, Stream, default_workers
from training.data.symmetry import KINDS
from training.layer import Layer, group_indices_of
from training.rank_slice import WHOLE_BATCH, RankSlice

CPU = torch.device("cpu")


class BatchLoader:
    """Batches of the train rows of the shards that are finished for all `layers` when the loader is made.

    An epoch has every such row once, in the order of `order_of`, cut into batches; rows that do not fill a last batch
    are left out of that epoch. Batch `step` does not depend on workers, devices or processes. Raises `Fatal` when no
    such shard has train rows.
    """

    def __init__(self, corpus: Corpus, layers: Sequence[Layer], config: PretrainConfig) -> None:
        self._corpus, self._layers, self._config = corpus, tuple(layers), config
        names = [layer.name for layer in layers]
        shards = finished_shards(corpus, names)
        left_out = not_trained_on(corpus, config)
        blocks = blocks_of(corpus, shards, config.read_rows, left_out)
        if not blocks:
            if len(left_out):
                which = "pretrain.only and pretrain.leave_out leave" if config.only else "pretrain.leave_out leaves"
                raise Fatal(f"{which} no train rows of {corpus.folder}; choose others.")
            raise Fatal(
                f"no shard with train rows in {corpus.folder} is finished for all of {', '.join(names)}; "
                "run `geocorpus export` first."
            )
        self._size_px = corpus.manifest.size_px
        self.batch_size = min(config.batch_size, sum(len(block) for block in blocks))
        self._order = order_of(blocks, corpus.shard_rows, config, self.batch_size)
        self._rows_in_order = lru_cache(maxsize=2)(self._order.of)
        self._decoder = Decoder(corpus, layers, shards, config.span_rows, _cache(config))
        self._groups = {item.name: group_indices_of(corpus, item) for item in layers if item.modality.statistics_by}
        self.steps_per_epoch = len(self.rows) // self.batch_size

    @property
    def rows(self) -> NDArray[np.int64]:
        """The manifest rows that are trained on, (rows,) int64, ascending."""
        return self._order.rows

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The manifest rows of an epoch in training order, (rows,) int64."""
        return self._rows_in_order(epoch)

    def position(self, step: int) -> Position:
        """The position in the epoch before `step`, the same for any number of processes."""
        epoch, rows = self._rows_of(step)
        return Position(epoch, int(shards_of(self._corpus, rows[:1])[0]), int(rows[0]))

    def batches(self, first: int, stop: int, device: torch.device = CPU, rank_slice: RankSlice = WHOLE_BATCH) -> Stream:
        """Batches `first` to `stop` (exclusive) on `device`, decoded ahead; of each, the micro-batches of `rank_slice`.

        Close the stream, or exhaust it.
        """
        return self.stream(first, stop, DevicePrefetcher(self._layers, device, rank_slice.micro_batches), rank_slice)

    def stream(
        self, first: int, stop: int, prefetcher: DevicePrefetcher, rank_slice: RankSlice = WHOLE_BATCH
    ) -> Stream:
        """As `batches`, with a prefetcher of the caller."""
        slices = rank_slice.slices(self.batch_size)

        def parts() -> Iterator[tuple[int, slice]]:
            return ((step, part) for step in range(first, stop) for part in slices)

        reading = self._reading(parts())
        jobs = (self._job(step, part, reading) for step, part in parts())
        shapes = self._decoder.shapes(max(part.stop - part.start for part in slices), self._config.image_px)
        workers = self._config.workers or default_workers()
        # A step takes all its micro-batches at once, so as many must be in progress for the next step.
        ahead = self._config.read_ahead * len(slices)
        return Stream(jobs, shapes, prefetcher, workers, ahead, reading.close)

    def centres(self, parts: Sequence[NDArray[np.int64]], device: torch.device = CPU) -> Stream:
        """The centres of other chips, a batch for each of `parts`, manifest rows (rows,) int64 of finished shards.

        Masks and keys are those of the first epoch. Close the stream, or exhaust it.
        """
        config, most = self._config, max(map(len, parts), default=0)
        reading = self._decoder.read_ahead((rows.tolist() for rows in parts), (config.read_ahead + 1) * max(1, most))
        first = (self._size_px - config.image_px) // 2
        jobs = (self._job_of(0, rows, np.full((len(rows), 2), first), reading) for rows in parts)
        shapes, workers = self._decoder.shapes(most, config.image_px), config.workers or default_workers()
        return Stream(jobs, shapes, DevicePrefetcher(self._layers, device), workers, config.read_ahead, reading.close)

    def batch(self, step: int) -> Batch:
        """The whole batch of one step, on the CPU; steps count from the start of the run."""
        return DevicePrefetcher(self._layers, CPU).send(self.raw(step, slice(0, self.batch_size))).batch

    def raw(self, step: int, part: slice) -> Raw:
        """Some rows of the batch of one step in stored numbers, on the CPU; read anew, without threads."""
        with closing(self._reading([(step, part)])) as reading:
            job, count = self._job(step, part, reading), part.stop - part.start
            buffer = Buffer(self._decoder.shapes(count, self._config.image_px), pinned=False)
            job.fill(buffer.arrays, slice(0, count))
        return buffer.with_pixels(job.raw)

    def _reading(self, parts: Iterable[tuple[int, slice]]) -> ReadAhead:
        """Goes ahead of jobs for `parts`, each a part of a step."""
        rows = (self._rows_of(step)[1][part].tolist() for step, part in parts)
        return self._decoder.read_ahead(rows, self._spread)

    @property
    def _spread(self) -> int:
        """How many rows the chips of a run are apart in the order, or fewer, so that what is read ahead is held."""
        config = self._config
        held = int(config.read_ahead_gb * 1e9 / self._decoder.chip_bytes / 2)
        window = config.read_rows * config.mix_blocks
        if config.order == "dealt":
            windows = max(1, self.steps_per_epoch * config.companions // config.read_rows)
            window = -(-self.steps_per_epoch // windows) * self.batch_size
        return max(1, min(window, held))

    def _rows_of(self, step: int) -> tuple[int, NDArray[np.int64]]:
        epoch, index = divmod(step, self.steps_per_epoch)
        return epoch, self.order(epoch)[index * self.batch_size : (index + 1) * self.batch_size]

    def _job(self, step: int, part: slice, reading: ReadAhead) -> Job:
        epoch, batch_rows = self._rows_of(step)
        rows = batch_rows[part]
        corners = crops_yx(self._config.seed, epoch, rows, self._size_px, self._config.image_px)
        job, kinds = self._job_of(epoch, rows, corners, reading), KINDS[self._config.augment]
        if kinds == 1:
            return job
        drawn = torch.from_numpy(symmetries(self._config.seed, epoch, rows, kinds))
        return replace(job, raw=replace(job.raw, symmetries=drawn))

    def _job_of(self, epoch: int, rows: NDArray[np.int64], corners_yx: NDArray[np.int64], reading: ReadAhead) -> Job:
        config = self._config
        visible = visible_patches(config.seed, epoch, rows, config.side, config.visible_patches)
        raw = Raw(
            {name: torch.from_numpy(values) for name, values in self._decoder.vectors(rows).items()},
            {name: torch.from_numpy(groups[rows]) for name, groups in self._groups.items()},
            torch.from_numpy(visible),
            tuple(rows.tolist()),
            torch.from_numpy(draw_keys(config.seed, epoch, rows)),
        )
        reading.advance(len(rows))
        return Job(raw, partial(self._fill, raw.rows, corners_yx, reading))

    def _fill(
        self,
        rows: Sequence[int],
        corners_yx: NDArray[np.int64],
        reading: ReadAhead,
        into: Mapping[str, NDArray[Any]],
        span: slice,
    ) -> None:
        arrays = {name: array[span] for name, array in into.items()}
        self._decoder.pixels(arrays, rows[span], corners_yx[span], reading)


def _cache(config: PretrainConfig) -> ChipCache | None:
    if not config.cache_folder:
        return None
    return ChipCache(Path(config.cache_folder).expanduser(), int(config.cache_gb * 1e9))
