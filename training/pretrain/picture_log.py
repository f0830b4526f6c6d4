"""Selects the chips of a run that are drawn, and draws them when they are due."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline import durable
from training.batch import Batch
from training.data.centre import read_centre
from training.data.masking import visible_patches
from training.data.order import shards_of
from training.layer import groups_of
from training.method import Drawing
from training.pretext import Pretext
from training.pretrain.presence import has_data
from training.pretrain.resolved_run import ResolvedRun
from training.pretrain.val_rows import val_rows
from training.runtime.device import Device
from training.runtime.metric_writer import MetricWriter
from training.sample import Sample

PICTURES = "pictures"
DRAWN = "chips.json"  # beside them: the ids of the chips in them, from above
CHIPS = 3
_CANDIDATES = 32


class PictureLog:
    """The pictures of a run, in `run_folder`/pictures and in the log; chips are read when the first is due."""

    def __init__(self, resolved: ResolvedRun, run_folder: Path) -> None:
        self._resolved, self._folder = resolved, run_folder / PICTURES

    @cached_property
    def pictures(self) -> Drawing | None:
        """What draws the same few chips throughout the run; None for a method without pictures."""
        resolved = self._resolved
        if resolved.method.pictures is None:
            return None
        rows = rows_to_draw(resolved)
        durable.write_json(self._folder / DRAWN, resolved.corpus.manifest.column("id")[rows].tolist())
        sample = sample_of(resolved, rows)
        return resolved.method.pictures(sample, resolved.inputs, resolved.targets, resolved.config, self._folder)

    def draw_when_due(self, net: Pretext, device: Device, step: int, writer: MetricWriter) -> None:
        """Draw after every `pictures_every` steps and at the end."""
        every = self._resolved.config.pictures_every
        due = every and (step % every == 0 or step == self._resolved.steps)
        if due and self.pictures is not None:
            writer.show(step, PICTURES, self.pictures.draw(net, device, step))


def rows_to_draw(resolved: ResolvedRun) -> NDArray[np.int64]:
    """Manifest rows (at most 3) of finished val chips, or of train chips where there are none, ascending.

    Of the first ones those are taken that together have the most layers, so that each is seen where any has it.
    """
    known = val_rows(resolved)
    first = (known if len(known) else resolved.loader.rows)[:_CANDIDATES]
    lacking = _lacking(resolved, first)
    chosen: list[int] = []
    while len(chosen) < min(CHIPS, len(lacking)):
        unseen = frozenset.intersection(*(lacking[row] for row in chosen)) if chosen else frozenset()
        rest = [row for row in lacking if row not in chosen]
        chosen.append(min(rest, key=lambda row: (len(lacking[row] & unseen), len(lacking[row]), row)))
    return np.array(sorted(chosen), dtype=np.int64)


def _lacking(resolved: ResolvedRun, rows: NDArray[np.int64]) -> dict[int, frozenset[str]]:
    """The layers of a run of which chips have no data, by row."""
    names = {layer.name for layer in (*resolved.inputs, *resolved.targets)}
    near = resolved.corpus.restricted_to(set(shards_of(resolved.corpus, rows).tolist()))
    there = {name: has_data(near, name, rows).tolist() for name in names}
    return {row: frozenset(name for name in names if not there[name][at]) for at, row in enumerate(rows.tolist())}


def sample_of(resolved: ResolvedRun, rows: NDArray[np.int64]) -> Sample:
    """The centres of the chips in manifest `rows`, with their masks of the first epoch."""
    config, corpus = resolved.config, resolved.corpus
    layers = {layer.name: layer for layer in (*resolved.inputs, *resolved.targets)}
    stored = {name: read_centre(corpus, name, rows, config.image_px) for name in layers}
    groups = {name: groups_of(corpus, layer)[rows] for name, layer in layers.items()}
    normalised = {name: layer.values(stored[name], groups[name]) for name, layer in layers.items()}
    visible = visible_patches(config.seed, 0, rows.tolist(), config.side, config.visible_patches)
    batch = Batch(
        {name: torch.from_numpy(values) for name, (values, _) in normalised.items()},
        {name: torch.from_numpy(valid) for name, (_, valid) in normalised.items()},
        torch.from_numpy(visible),
        tuple(int(row) for row in rows),
    )
    chosen = {name: values[:, list(layers[name].bands)] for name, values in stored.items()}
    ids, splits = (corpus.manifest.column(name)[rows] for name in ("id", "split"))
    names = tuple(f"{chip}\n{split}" for chip, split in zip(ids, splits, strict=True))
    return Sample(names, batch, chosen, groups)
