"""A corpus for anybody's training loop: a map-style dataset of PyTorch, chip by chip, over our shard reader."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, default_collate, get_worker_info

from pipeline import arguments
from pipeline.corpus import Corpus
from pipeline.errors import Fatal, unknown_name
from pipeline.manifest import SPLITS
from pipeline.modality import Modality
from training.data.conversion import Values, conversion_of
from training.data.dealt_order import DealtOrder
from training.data.open_chips import OpenChips
from training.data.order import finished_shards
from training.data.shuffled_chips import ShuffledChips
from training.layer import Layer

Sample = dict[str, Any]
_FEW_RUNS = 8  # That many are worth being kept whole where chips cannot be read one by one.
CHIP = "chip"  # The store keeps this name for itself, so that no modality has it.


class ChipDataset(Dataset[Sample]):
    """The chips of a split of which every chosen modality is finished, in the order of their rows.

    A sample holds, for each modality, `<name>`, (bands[, y, x]), and `<name>_valid`, bool of the same shape; and
    `chip`: `row`, `lon`, `lat` (degrees), `epsg`, `origin_x_m`, `origin_y_m`, `resolution_m`, as plain numbers, and
    `own`: columns of the owner's table, as `ChipPlaces.of` gives them, if there are any. It needs no statistics, so no
    `finalize`. Any process that gets it opens the corpus itself, by fork as by spawn; a corpus in a bucket can be read
    in forked workers by nobody, and is refused there.
    """

    def __init__(
        self,
        corpus: Corpus,
        modalities: Sequence[str] | None = None,
        split: str | None = "train",
        bands: Mapping[str, Sequence[str]] | None = None,
        values: Values = "physical",
    ) -> None:
        """`modalities` None means all of the store, `split` None every row; `bands` names those of some modalities.

        For `values` see `conversion_of`. Raises `Fatal` for a modality, split, band or kind of values that there is
        not, and for a split without finished rows.
        """
        names = tuple(corpus.modalities) if modalities is None else _listed(modalities)
        self.layers = _layers([corpus.modality(name) for name in names], bands or {})
        self._conversions = {layer.name: conversion_of(layer, values) for layer in self.layers}
        self._folder, self._in_a_bucket = corpus.folder.absolute(), corpus.store.folder is None
        self._size_px = corpus.manifest.size_px
        self._shard_rows, self._shards = corpus.shard_rows, finished_shards(corpus, names)
        self.rows = _rows(corpus, split, names, self._shards)
        self._read_rows = 1  # A sampler may ask for any row next.
        self._opened: OpenChips | None = None
        self._home = os.getpid()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        """The sample of the `index`-th of `rows`; raises `IndexError` beyond them, `Fatal` for a damaged shard."""
        return self.sample(int(self.rows[arguments.whole_number("the number of a sample", index)]))

    def open(self) -> None:
        """Open the corpus in this process, which otherwise happens with the first sample."""
        self._chips()

    def sample(self, row: int) -> Sample:
        """The sample of a row of the manifest; raises `Fatal` for a row that is not finished."""
        row = arguments.whole_number("the row of a chip", row)
        tensors = {key: item[0] for key, item in self._filled([row], shared=False).items()}
        return {**tensors, CHIP: self._chips().places.of(row)}

    def batch(self, rows: Sequence[int]) -> Sample:
        """The samples of these rows as PyTorch's collation would stack them, but decoded into their place at once."""
        # What a worker makes is sent through shared memory: made there, it needs no copy.
        tensors = self._filled(rows, shared=get_worker_info() is not None)
        return {**tensors, CHIP: default_collate([self._chips().places.of(row) for row in rows])}

    def _filled(self, rows: Sequence[int], shared: bool) -> dict[str, Tensor]:
        tensors, make = dict[str, Tensor](), _in_shared_memory if shared else _in_memory
        with self._chips().at_hand(rows) as stored:
            for layer in self.layers:
                convert = self._conversions[layer.name]
                shape = (len(rows), len(layer.bands), *layer.modality.shape(self._size_px)[1:])
                values, valid = make(shape, convert.dtype), make(shape, np.dtype(bool))
                arrays = values.numpy(), valid.numpy()
                for index, row in enumerate(rows):
                    convert(stored(layer.name, row), arrays[0][index], arrays[1][index])
                tensors |= {layer.name: values, f"{layer.name}_valid": valid}
        return tensors

    def shuffled(
        self, seed: int = 0, block_rows: int = 8, mix_blocks: int = 256, rank: int = 0, ranks: int = 1
    ) -> ShuffledChips:
        """The same chips as an iterable dataset in random order, of which process `rank` of `ranks` gets its part.

        Runs of up to `block_rows` neighbours, drawn anew in each epoch, are read together and dealt out, `mix_blocks`
        of them at a time: of `mix_blocks` chips that follow one another, hardly two are of one run. Raises `Fatal` for
        sizes below 1 and a rank that is none.
        """
        block_rows = arguments.whole_number("block_rows", block_rows, 1)
        mix_blocks, seed = arguments.whole_number("mix_blocks", mix_blocks, 1), arguments.whole_number("seed", seed, 0)
        reading = copy(self)
        reading._read_rows = block_rows if mix_blocks <= _FEW_RUNS else 1
        order = DealtOrder(self.rows, self._shard_rows, block_rows, seed, mix_blocks, block_rows)
        return ShuffledChips(reading, order, (rank, ranks))

    def __getstate__(self) -> dict[str, Any]:
        """Neither open files nor the process that they belong to; a copy opens its own."""
        return {name: value for name, value in vars(self).items() if name not in ("_opened", "_home")}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__ |= {**state, "_opened": None, "_home": os.getpid()}

    def _chips(self) -> OpenChips:
        """What this process reads from; a forked one opens its own, as threads and connections stay behind."""
        if self._opened is None or self._opened.process != os.getpid():
            if self._in_a_bucket and self._home != os.getpid():
                raise Fatal(
                    "a corpus in a bucket cannot be read by forked workers, whose connections stayed behind; "
                    'give the DataLoader multiprocessing_context="spawn".'
                )
            self._opened = OpenChips(self._folder, self.layers, self._shards, self._read_rows)
        return self._opened


def _in_memory(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Tensor:
    return torch.from_numpy(np.empty(shape, dtype))


def _in_shared_memory(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Tensor:
    """As PyTorch's own collation makes it in a worker; `Tensor.share_memory_` would copy what is not there yet."""
    kind = torch.from_numpy(np.empty(0, dtype)).dtype
    storage: torch.UntypedStorage = torch.UntypedStorage._new_shared(int(np.prod(shape)) * dtype.itemsize)
    flat = torch.empty(0, dtype=kind).set_(storage)
    return flat.view(shape)


def _listed(names: Sequence[str]) -> tuple[str, ...]:
    chosen = tuple(dict.fromkeys(arguments.names("modalities", names)))
    if not chosen:
        raise Fatal("no modality is asked for; name at least one, or leave `modalities` out for all of them.")
    masked = next((name for name in chosen if f"{name}_valid" in chosen), None)
    if masked:
        raise Fatal(f"the mask of {masked!r} would be called as {masked + '_valid'!r} is; take two datasets.")
    return chosen


def _layers(modalities: Sequence[Modality], bands: Mapping[str, Sequence[str]]) -> tuple[Layer, ...]:
    names = [item.name for item in modalities]
    if not isinstance(bands, Mapping):
        raise Fatal(f"bands must say of which modality, as {{'name': ['band', ...]}}, not {bands!r:.80}.")
    for name in bands:
        if name not in names:
            raise unknown_name("modality in bands", name, names)
    return tuple(Layer(item, _chosen(item, bands.get(item.name, item.band_names)), {}) for item in modalities)


def _chosen(modality: Modality, names: Sequence[str]) -> tuple[int, ...]:
    listed = arguments.names(f"the bands of {modality.name}", names)
    for name in listed:
        if name not in modality.band_names:
            raise unknown_name(f"band of {modality.name}", name, modality.band_names)
    if not listed:
        raise Fatal(f"no band of {modality.name} is asked for; name at least one, or leave it out for all of them.")
    return tuple(modality.band_names.index(name) for name in listed)


def _rows(corpus: Corpus, split: str | None, names: Sequence[str], shards: frozenset[int]) -> NDArray[np.int64]:
    """The rows of a split in the shards that are finished, ascending."""
    if split not in (None, *SPLITS):
        raise unknown_name("split", split, SPLITS)
    rows = np.arange(len(corpus.manifest)) if split is None else corpus.manifest.rows_of(split)
    if not len(rows):
        raise Fatal(f"the corpus in {corpus.folder} has no {split} rows; choose another split.")
    finished = rows[np.isin(rows // corpus.shard_rows, sorted(shards))]
    if not len(finished):
        raise Fatal(
            f"no shard with {split or 'any'} rows in {corpus.folder} is finished for all of {', '.join(names)}; "
            "run `geocorpus export` first."
        )
    return finished
