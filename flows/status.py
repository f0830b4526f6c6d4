"""Where a corpus stands, from its files alone: stages, shards per modality, reasons for what is missing."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from flows import stages
from pipeline import durable
from pipeline.corpus import MANIFEST, STATISTICS, Corpus, place_of
from pipeline.errors import Fatal
from pipeline.location import read_locations
from pipeline.manifest import Manifest


@dataclass(frozen=True)
class LayerStatus:
    """One modality: finished shards, and chips without any data by reason."""

    shards_done: int
    missing: dict[str, int]


@dataclass(frozen=True)
class Status:
    """What the folder holds. Counts are 0 and maps empty before the stage that makes them."""

    folder: str
    candidates: int = 0
    chips: int = 0
    shards: int = 0
    spooled_chips: int = 0
    finalized: bool = False
    layers: dict[str, LayerStatus] = field(default_factory=dict)

    @property
    def next_step(self) -> str:
        """The stage that brings it forward."""
        if not self.candidates:
            return "sample"
        if not self.chips:
            return "anchor"
        if not self.layers or any(layer.shards_done < self.shards for layer in self.layers.values()):
            return "export"
        return "pretrain" if self.finalized else "finalize"


def read_status(folder: Path) -> Status:
    """Raises `Fatal` when there is no corpus in `folder`, nor one begun."""
    if not (folder / stages.LOCATIONS).exists() and not (folder / MANIFEST).exists():
        raise Fatal(f"there is no corpus in {folder}; run `geocorpus sample` first, or check the path.")
    located = folder / stages.LOCATIONS
    candidates = len(read_locations(located)) if located.exists() else 0
    if not place_of(folder).exists:
        chips = len(Manifest.read(folder / MANIFEST)) if (folder / MANIFEST).exists() else 0
        return Status(str(folder), candidates, chips)
    corpus = Corpus.open(folder)
    spooled = sum(1 for _ in (folder / stages.SPOOL).rglob("[0-9]*.npz"))
    layers = {name: _layer(corpus, name) for name in corpus.modalities}
    finalized = _finalized(folder, corpus)
    return Status(str(folder), candidates, len(corpus.manifest), len(corpus.shards), spooled, finalized, layers)


def _finalized(folder: Path, corpus: Corpus) -> bool:
    """Whether the published statistics cover every modality that the store has."""
    published = folder / STATISTICS
    return published.exists() and set(corpus.modalities) <= set(durable.read_json(published))


def _layer(corpus: Corpus, name: str) -> LayerStatus:
    reasons = Counter(_kind(reason) for entry in corpus.entries(name) for reason in entry.missing.values())
    return LayerStatus(len(corpus.finished(name)), dict(reasons.most_common()))


def _kind(reason: str) -> str:
    """A reason without what is particular to one chip, so that equal kinds add up."""
    return " ".join(word for word in reason.split() if not any(letter.isdigit() for letter in word))


def show(status: Status, as_json: bool) -> None:
    """Print as a table, or as one JSON object."""
    if as_json:
        print(json.dumps(asdict(status) | {"next": status.next_step}))
        return
    console = Console()
    console.print(f"[bold]{status.folder}[/]: {status.candidates:,} candidates, {status.chips:,} chips, "
                  f"{status.shards:,} shards, {status.spooled_chips:,} chips waiting in the spool")  # fmt: skip
    if status.layers:
        console.print(_table(status))
    console.print(f"next: [bold]{stages.program()} {status.next_step} {status.folder}[/]")


def _table(status: Status) -> Table:
    table = Table("modality", "shards done", "chips without data", "reasons", box=None, pad_edge=False)
    for name, layer in status.layers.items():
        reasons = "; ".join(f"{count} x {reason}" for reason, count in layer.missing.items())
        table.add_row(name, f"{layer.shards_done}/{status.shards}", str(sum(layer.missing.values())), reasons)
    return table
