"""A corpus as it is published: what all the records about it are made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
import pyarrow.parquet as pq

from exporters.publication.about import About
from pipeline.corpus import Corpus
from pipeline.corpus_folder import MANIFEST
from pipeline.licence import Licence, common_identifier
from pipeline.modality import Modality

MIXED = "other"  # what catalogues call it where more than one licence holds


@dataclass(frozen=True)
class Dataset:
    """`corpus` is the copy that is published; `licences` are those of its layers, by name."""

    corpus: Corpus
    about: About
    licences: Mapping[str, Licence]

    @cached_property
    def layers(self) -> tuple[Modality, ...]:
        """The layers, by name."""
        return tuple(self.corpus.modalities[name] for name in sorted(self.corpus.modalities))

    @cached_property
    def size_px(self) -> int:
        """Width of every chip in pixels."""
        return self.corpus.manifest.size_px

    @cached_property
    def bbox(self) -> tuple[float, float, float, float]:
        """West, south, east, north in degrees; all longitudes where a chip lies across the antimeridian."""
        header = json.loads(pq.read_schema(self.corpus.folder / MANIFEST).metadata[b"geo"])
        west, south, east, north = header["columns"]["geometry"]["bbox"]
        return (-180.0, south, 180.0, north) if east > 180 else (west, south, east, north)

    @cached_property
    def times(self) -> tuple[datetime, datetime]:
        """Times (UTC) of the first and the last anchor scene."""
        pieces = [column for (column,) in self.corpus.manifest.pieces("anchor_time")]
        first, last = min(np.min(piece) for piece in pieces), max(np.max(piece) for piece in pieces)
        return first.astype("datetime64[ms]").item(), last.astype("datetime64[ms]").item()

    @cached_property
    def splits(self) -> dict[str, int]:
        """How many chips each split has."""
        names, counts = np.unique(self.corpus.manifest.column("split").astype(str), return_counts=True)
        return dict(zip(names.tolist(), counts.tolist(), strict=True))

    def licence_of(self, layer: Modality) -> Licence:
        """The licence of a layer, with the years of the images in its words."""
        first, last = self.times
        return self.licences[layer.name].of_years(first.year, last.year)

    @cached_property
    def licence(self) -> str:
        """The one SPDX identifier that holds for everything; `MIXED` where there is more than one licence."""
        return common_identifier([Licence(self.about.licence), *self.licences.values()]) or MIXED

    @cached_property
    def description(self) -> str:
        """What the publisher says of it, or what can be said of any corpus."""
        named = ", ".join(layer.name for layer in self.layers)
        return self.about.description or (
            f"{len(self.corpus.manifest)} places of the Earth, each seen in {len(self.layers)} aligned layers of "
            f"{self.size_px} x {self.size_px} pixels of {self.corpus.manifest.resolution_m:g} m: {named}."
        )
