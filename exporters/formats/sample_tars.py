"""A selection as tars of samples, some hundred each: `train-000000.tar`, `train-000001.tar`, `val-000000.tar`, ..."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.formats.leavings import object_in
from exporters.formats.sample import members
from exporters.formats.selection import Selection
from pipeline import durable
from pipeline.manifest import SPLITS
from pipeline.modality import Modality
from pipeline.progress import Progress

SIZES, LAYERS = "sizes.json", "layers.json"
_PHYSICAL = "float32"  # of layers in their units
_BLOCK_ROWS = 16  # of all layers of MMEarth some 16 MB


@dataclass(frozen=True)
class SampleTars:
    """`samples` per tar; with `physical`, layers without classes are float32 in their units, NaN where no data are."""

    selection: Selection
    folder: Path
    samples: int
    physical: bool

    def write(self, progress: Progress) -> str:
        """Write all tars, then what they hold; returns a line. Raises `Fatal` as `Selection.blocks` does."""
        self.folder.mkdir()
        progress.start("samples", len(self.selection))
        sizes = dict[str, int]()
        for name, rows in self._tars():
            self._write_tar(name, rows, progress)
            sizes[name] = len(rows)
        durable.write_json(self.folder / SIZES, sizes)
        durable.write_json(self.folder / LAYERS, {item.name: self._about(item) for item in self._layers})
        return f"{len(self.selection)} samples of {len(self._layers)} layers in {len(sizes)} tars."

    @cached_property
    def _layers(self) -> tuple[Modality, ...]:
        return tuple(self.selection.corpus.modality(name) for name in self.selection.layers)

    def _tars(self) -> Iterator[tuple[str, NDArray[np.int64]]]:
        splits = self.selection.corpus.manifest.column("split")[self.selection.rows]
        for split in SPLITS:
            rows = self.selection.rows[splits == split]
            for number, start in enumerate(range(0, len(rows), self.samples)):
                yield f"{split}-{number:06d}.tar", rows[start : start + self.samples]

    def _write_tar(self, name: str, rows: NDArray[np.int64], progress: Progress) -> None:
        with tarfile.open(self.folder / name, "w", format=tarfile.GNU_FORMAT) as tar:
            for block in (rows[start : start + _BLOCK_ROWS] for start in range(0, len(rows), _BLOCK_ROWS)):
                for member, content in self._members(block):
                    _add(tar, member, content)
                progress.advance(len(block))

    def _members(self, rows: NDArray[np.int64]) -> Iterator[tuple[str, bytes]]:
        values = {layer.name: self._values(layer, rows) for layer in self._layers}
        for place, row in enumerate(rows.tolist()):
            chip = self.selection.corpus.manifest[row]
            missing = {name: reason for name in values if (reason := self.selection.layer(name).reason(row))}
            yield from members(chip, {name: block[place] for name, block in values.items()}, missing)

    def _values(self, layer: Modality, rows: NDArray[np.int64]) -> NDArray[Any]:
        stored = self.selection.layer(layer.name).values(rows)
        return layer.physical(stored).astype(_PHYSICAL) if self._in_units(layer) else stored

    def _in_units(self, layer: Modality) -> bool:
        return self.physical and not layer.categories

    def _about(self, layer: Modality) -> dict[str, Any]:
        """The specification of a layer as it is in the tars, and its licence."""
        licence = layer.licence.attributes() if layer.licence else {}
        written = layer.in_units(_PHYSICAL) if self._in_units(layer) else layer
        return written.specification() | licence


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """A member without time and owner, so that equal samples are equal bytes."""
    about = tarfile.TarInfo(name)
    about.size, about.mode = len(content), 0o644
    tar.addfile(about, BytesIO(content))


def tars_left(folder: Path) -> set[str]:
    """What `SampleTars` left in a folder: the tars that its list of sizes names."""
    lists = {SIZES, LAYERS}
    return lists | set(object_in(folder / SIZES)) if all((folder / name).is_file() for name in lists) else set()
