"""What the explorer's page asks for, by path; the same answers are the files of a static export."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from flows.viewer import ground
from flows.viewer.chip_bundle import bundle
from flows.viewer.chip_view import ChipView, described
from flows.viewer.column import Column, Columns
from flows.viewer.flags import Flags
from flows.viewer.likeness import Likeness
from flows.viewer.open_layers import OpenLayers
from flows.viewer.report_page import has_report
from flows.viewer.search import rows_with
from flows.viewer.training_runs import TrainingRuns
from flows.viewer.work import at_work
from pipeline.corpus import Corpus
from pipeline.errors import Fatal

JSON, BYTES, PNG, TIFF = "application/json", "application/octet-stream", "image/png", "image/tiff"


@dataclass(frozen=True)
class Answer:
    """A body with its media type."""

    body: bytes
    media_type: str


def _opening_colour(corpus: Corpus) -> str:
    """The column that colours the map at first: biomes, or what tells places apart where they have no biome or one."""
    varied = {"biome": "biome", "ecoregion": "ecoregion_name"}
    return next(
        (name for name, column in varied.items() if len(pd.unique(corpus.manifest.column(column))) > 1), "split"
    )


def as_json(plain: Any) -> Answer:
    """Plain values as an answer."""
    return Answer(json.dumps(plain, allow_nan=False, separators=(",", ":")).encode(), JSON)


@dataclass
class Answers:
    """Answers about one corpus. Paths that there are not, and damage, raise `Fatal` with one sentence."""

    corpus: Corpus
    likeness: Likeness | None = None
    named_runs: tuple[Path, ...] = ()
    columns: Columns = field(init=False)
    layers: OpenLayers = field(init=False)
    _told: dict[str, Column] = field(init=False, default_factory=dict)
    runs: TrainingRuns = field(init=False)

    def __post_init__(self) -> None:
        self.layers = OpenLayers(self.corpus)
        self.runs = TrainingRuns(self.corpus, self.named_runs)
        alike = self.likeness.columns() if self.likeness else []
        self.columns = Columns(self.corpus, (*alike, *Flags(self.corpus).columns()))

    def of(self, path: str, text: str = "") -> Answer:
        """The answer to a path such as "chips/12/aster.png"; `text` is what "find.json" looks for."""
        first, *rest = path.split("/")
        if not rest and first in self._whole:
            return self._whole[first]()
        if first == "find.json" and not rest:
            return as_json({"rows": rows_with(self.corpus, text).tolist() if text else []})
        if first == "columns" and len(rest) == 1:
            return self._of_column(*rest[0].rsplit(".", 1))
        if first == "runs" and len(rest) == 2:
            return self._of_run(*rest)
        if first == "chips" and len(rest) == 2:
            return self._of_chip(self._view(rest[0]), rest[1])
        raise Fatal(f"the explorer has nothing under {path!r}.")

    @cached_property
    def _whole(self) -> dict[str, Callable[[], Answer]]:
        return {
            "corpus.json": lambda: as_json(self.summary()),
            "places.bin": lambda: Answer(ground.positions(self.corpus.manifest).tobytes(), BYTES),
            "outlines.json": lambda: as_json(ground.outlines(self.corpus.folder)),
            "work.json": lambda: as_json(at_work(self.corpus)),
            "runs.json": lambda: as_json(self.runs.listed()),
        }

    def summary(self) -> dict[str, Any]:
        """The corpus, its columns and its layers."""
        return {
            "name": self.corpus.folder.name, "folder": str(self.corpus.folder), "chips": len(self.corpus.manifest),
            "columns": self.columns.titles(), "colour": _opening_colour(self.corpus),
            "layers": described(self.corpus.modalities), "likeness": self.likeness is not None,
            "report": has_report(self.corpus),
        }  # fmt: skip

    def _of_column(self, name: str, kind: str = "") -> Answer:
        """What a column is, or its values: those of what was told last, even if shards have filled since."""
        if kind == "json":
            self._told[name] = self.columns[name]
            return as_json(self._told[name].description())
        column = self._told.pop(name, None) or self.columns[name]
        return Answer(column.values.tobytes(), BYTES)

    def has(self, row: int, layer: str) -> bool:
        """Whether a chip has a layer."""
        entry = self.layers.entry(layer, row)
        return entry is not None and row not in entry.missing

    def _view(self, text: str) -> ChipView:
        if not (text.isascii() and text.isdigit() and int(text) < len(self.corpus.manifest)):
            raise Fatal(f"there is no chip in row {text!r}; rows are 0 to {len(self.corpus.manifest) - 1}.")
        return ChipView(self.layers, int(text))

    def _of_run(self, name: str, file: str) -> Answer:
        if file == "run.json":
            return as_json(self.runs.told(name))
        return Answer(self.runs[name].picture(file), PNG)

    def _of_chip(self, view: ChipView, name: str) -> Answer:
        if name == "chip.bin":
            facts = view.facts() | {"flags": Flags(self.corpus).of(view.row, self.layers)}
            return Answer(bundle(view, facts), BYTES)
        if name == "near.json" and self.likeness:
            return as_json(self.likeness.near(view.row))
        layer, _, kind = name.rpartition(".")
        if kind == "tif":
            return Answer(view.raster(layer), TIFF)
        if kind == "png":
            plain, _, band = layer.partition("@")
            return Answer(view.picture(plain, band), PNG)
        raise Fatal(f"the explorer has nothing under {name!r}.")
