"""What a user writes as a target: a column, a layer's classes or band, or a raster, with a name of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.corpus import Corpus
from pipeline.errors import Fatal, unknown_name
from pipeline.modality import Modality

if TYPE_CHECKING:
    from training.evaluate.fewshot.task import Task

_RASTER = re.compile(r"(?P<path>.+\.(?:tiff?|vrt|jp2|img|nc))(?::(?P<band>\d+))?", re.IGNORECASE)


@dataclass(frozen=True)
class Target:
    """`name` is that in tables; `source` is as in `of`."""

    name: str
    source: str

    @classmethod
    def of(cls, text: str) -> Target:
        """From NAME=SOURCE, or SOURCE, which then is its own name.

        A source is a column that the owner brought; LAYER:CLASS+CLASS, the share of these classes; LAYER, the commonest
        class or the mean of its only band; LAYER:BAND, the mean of a band; FILE.tif or FILE.tif:BAND_NUMBER, the mean
        of a raster. Raises `Fatal` for an empty text.
        """
        name, sep, source = text.partition("=")
        result = cls(name.strip(), source.strip()) if sep else cls(text.strip(), text.strip())
        if not result.name or not result.source:
            raise Fatal(f"{text!r} is no target; write a layer, LAYER:CLASS+CLASS, LAYER:BAND, a column or a raster.")
        return result

    def task(self, corpus: Corpus, rows: NDArray[np.int64], image_px: int) -> Task:
        """The labels of the centres, `image_px` wide, of the chips in manifest `rows`, ascending.

        Raises `Fatal` for a layer, class, band, column or file that there is not.
        """
        from training.evaluate.fewshot.task import Task

        raster = _RASTER.fullmatch(self.source)
        if raster:
            return Task(self.name, _of_raster(raster["path"], int(raster["band"] or 1), corpus, rows, image_px))
        layer, _, detail = self.source.partition(":")
        if layer in corpus.modalities:
            return self._of_layer(corpus, corpus.modality(layer), detail, rows, image_px)
        return self._of_column(corpus, rows)

    def _of_column(self, corpus: Corpus, rows: NDArray[np.int64]) -> Task:
        from training.data.own_label import OwnLabel
        from training.evaluate.fewshot.task import Task

        if self.source not in corpus.manifest.own_columns:
            known = [*corpus.modalities, *corpus.manifest.own_columns]
            raise unknown_name("target", self.source.partition(":")[0], known)
        label = OwnLabel.of(corpus.manifest, self.source)
        return Task(self.name, label.values[rows], label.classes)

    def _of_layer(
        self, corpus: Corpus, modality: Modality, detail: str, rows: NDArray[np.int64], image_px: int
    ) -> Task:
        from training.data.chip_means import band_means, class_shares
        from training.evaluate.fewshot.task import Task

        if modality.categories and not detail:
            return self._commonest(corpus, modality, rows, image_px)
        if modality.categories:
            codes = [_code(modality, name.strip()) for name in detail.split("+")]
            return Task(self.name, class_shares(corpus, modality.name, codes, rows, image_px))
        return Task(self.name, band_means(corpus, modality.name, rows, image_px)[:, _band(modality, detail)])

    def _commonest(self, corpus: Corpus, modality: Modality, rows: NDArray[np.int64], image_px: int) -> Task:
        from training.data.label import labels_of
        from training.evaluate.fewshot.task import Task

        labels = labels_of(corpus, modality.name, rows, image_px)
        values = np.full(len(rows), -1, np.int64)
        values[np.searchsorted(rows, labels.rows)] = labels.values
        return Task(self.name, values, tuple(category.name for category in modality.categories))


def file_name(name: str) -> str:
    """A target's name as that of a file."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)


def _code(modality: Modality, name: str) -> int:
    codes = {category.name: category.code for category in modality.categories}
    if name not in codes:
        raise unknown_name(f"class of {modality.name}:", name, codes)
    return codes[name]


def _band(modality: Modality, name: str) -> int:
    names = modality.band_names
    if not name and len(names) == 1:
        return 0
    if not name:
        raise Fatal(f"{modality.name} has {len(names)} bands; say which as {modality.name}:{names[0]}.")
    if name not in names:
        raise unknown_name(f"band of {modality.name}:", name, names)
    return names.index(name)


def _of_raster(path: str, band: int, corpus: Corpus, rows: NDArray[np.int64], image_px: int) -> NDArray[np.float64]:
    from exporters.files.footprint import footprint_means

    if not Path(path).exists() and "://" not in path:
        raise Fatal(f"there is no raster at {path}; check the path of the target.")
    centres = corpus.manifest.regridded(image_px)
    return footprint_means(path, band, (centres[int(row)].grid for row in rows))
