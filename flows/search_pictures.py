"""Pictures of embeddings: what a search found as a sheet of chips; all chips as a map, and as a cloud."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.plots.cloud import write_cloud
from exporters.plots.colour_map import write_colour_map
from exporters.plots.sheet import MOST_CHIPS, Caption, write_sheet
from flows.searching import Answer, Search
from pipeline.corpus import Corpus
from pipeline.errors import Fatal, unknown_name
from pipeline.manifest import COLUMNS

MAP = "map.png"
_REGIONS = "regions.parquet"
_SEED = 0


def write_neighbours(path: Path, answer: Answer, corpus: Corpus) -> None:
    """Publish the first chips that were found as pictures; raises `Fatal` for one whose shard is not finished."""
    chips = answer.chips
    biomes = corpus.manifest.column("biome_name")[chips.rows]
    captions = [
        Caption(f"{rank}   {score:.3f}" if rank else "asked for", str(biome or name)[:26], is_marked=rank == 0)
        for rank, score, biome, name in zip(chips.ranks, chips.score, biomes, chips.ids, strict=True)
    ]
    title = answer.title[0].upper() + answer.title[1:]
    shown = f" (the first {MOST_CHIPS} are shown)" if len(chips) > MOST_CHIPS else ""
    write_sheet(path, corpus, chips.rows, captions, f"{title}{shown}")


@dataclass(frozen=True)
class Plots:
    """A view of a store, and the corpus of its chips where that is at hand: its columns, and outlines of regions."""

    search: Search
    corpus: Corpus | None

    def write(self, folder: Path, columns: tuple[str, ...]) -> list[Path]:
        """Publish the map, and a cloud for each of `columns`, in `folder`; returns the paths.

        Without columns it is coloured by biome, or by split where no corpus is at hand. Raises `Fatal` for a column
        that there is not, before anything is computed, and for fewer embeddings than a plane needs.
        """
        values = {name: self._column(name) for name in columns or self._default()}
        matrix = self.search.matrix()
        clouds = self._write_clouds(folder, matrix, values)  # first, as they may be refused
        return [self._write_map(folder, matrix), *clouds]

    def _default(self) -> tuple[str, ...]:
        return ("biome_name",) if self.corpus else ("lat",)

    def _column(self, name: str) -> NDArray[Any]:
        store = self.search.store
        own = {"lon": store.lonlat[:, 0], "lat": store.lonlat[:, 1]}
        if name in own:
            return own[name]
        if self.corpus is None:
            raise Fatal(f"the column {name!r} is in the corpus of these embeddings; say where it is with --corpus.")
        manifest = self.corpus.manifest
        if name not in (*COLUMNS, *manifest.own_columns):
            raise unknown_name("column", name, (*COLUMNS, *manifest.own_columns))
        return manifest.column(name)[store.rows]

    def _write_map(self, folder: Path, matrix: NDArray[np.float16]) -> Path:
        from training.evaluate.search.plane import colours

        path, store = folder / MAP, self.search.store
        regions = self.corpus.folder / _REGIONS if self.corpus else None
        title = f"{len(store.rows):,} chips as {self.search.view} sees them"
        write_colour_map(path, store.lonlat, colours(matrix), title, regions)
        return path

    def _write_clouds(self, folder: Path, matrix: NDArray[np.float16], values: dict[str, NDArray[Any]]) -> list[Path]:
        from training.evaluate.search.plane import MOST_POINTS, plane

        known = np.flatnonzero(np.isfinite(matrix[:, 0]))
        chosen = np.sort(np.random.default_rng(_SEED).permutation(known)[:MOST_POINTS])
        try:
            method, xy = plane(np.asarray(matrix[chosen], np.float32), _SEED)
        except ValueError as error:
            raise Fatal(f"{self.search.store.path}: {error}; embed more chips.") from error
        paths = {name: folder / f"{name}.png" for name in values}
        for name, path in paths.items():
            write_cloud(
                path, xy, values[name][chosen], name, f"Embeddings by {self.search.view}, coloured by {name}", method
            )
        return list(paths.values())
