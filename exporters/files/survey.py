"""A look at every file before anything is read or written: the chips' grids, what fits, and what the layers are."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from exporters.files.bands import BandOfFile, layer_bands
from exporters.files.description import FilesSettings, LayerSettings
from exporters.files.file_layer import check_fit
from exporters.files.header import Header
from exporters.files.layer_spec import column_specification, specification
from exporters.files.listing import Listing
from exporters.files.moment import moment_of
from exporters.files.tiles import Tile, own_tiles, utm_tile, window_of
from pipeline.errors import Fatal
from pipeline.modality import Modality

_AT_ONCE = min(8, 2 * (os.cpu_count() or 1))
_QUEUED = 1024
_SAMPLES = 16  # places whose values say how a layer is drawn
Layers = Mapping[str, LayerSettings]


@dataclass(frozen=True)
class Surveyed:
    """A place of the listing by its number: its tiles and its time; or the reason why it has no chips."""

    number: int
    tiles: Sequence[Tile] = ()
    time: datetime | None = None
    pixels: int = 0
    reason: str | None = None


class Survey:
    """The places of `listing` one after the other. The layers are known once `modalities` was asked for.

    Methods raise `Fatal`, with the file's name, for what does not fit the description.
    """

    def __init__(self, listing: Listing, settings: FilesSettings, layers: Layers, size_px: int) -> None:
        self.listing, self.settings, self.size_px = listing, settings, size_px
        self.seen = 0
        self.layers = {name: layer for name, layer in layers.items() if not layer.column}
        self.modalities = {name: self._first_look(name) for name in self.layers}
        self.modalities |= {
            name: column_specification(name, layer, listing.columns.get(layer.column, ()))
            for name, layer in layers.items()
            if layer.column
        }

    def _first_look(self, name: str) -> Modality:
        files = self.listing.files[name]
        numbers = [number for number, paths in enumerate(files) if paths]
        if not numbers:
            raise Fatal(f"no place has a file of layer {name!r}; correct its files or assets.")
        spread = numbers[:: -(-len(numbers) // _SAMPLES)]
        samples = (band for number in spread for band in self._bands(name, number))
        return specification(name, self.layers[name], self._bands(name, numbers[0]), samples)

    def _bands(self, name: str, number: int) -> list[BandOfFile]:
        return layer_bands(self.layers[name], name, self.settings.folder, str(self.listing.files[name][number]))

    def places(self) -> Iterator[Surveyed]:
        """All places in order; a few files are looked at at once."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            numbers = iter(range(len(self.listing)))
            while part := list(islice(numbers, _QUEUED)):
                for place in pool.map(self._place, part):
                    self.seen += 1
                    yield place

    def _place(self, number: int) -> Surveyed:
        bands = {name: self._bands(name, number) for name in self.layers if self.listing.files[name][number]}
        first = next(iter(self.layers))
        if first not in bands:
            return Surveyed(number, reason=f"it has no file of layer {first}")
        for name, found in bands.items():
            check_fit(self.modalities[name], self.layers[name], found)
        tiles = self._tiles(bands[first])
        self._refuse_other_grids(bands, tiles)
        height, width = bands[first][0].header.shape_yx if self.settings.grid == "own" else tiles[0].grid.shape_yx
        return Surveyed(number, tiles, self._time(number, bands), height * width)

    def _tiles(self, bands: Sequence[BandOfFile]) -> list[Tile]:
        if self.settings.grid == "own":
            return own_tiles(bands[0].header, self.size_px)
        return [utm_tile(bands[0].header, self.size_px)]

    def _refuse_other_grids(self, bands: Mapping[str, Sequence[BandOfFile]], tiles: Sequence[Tile]) -> None:
        if self.settings.grid != "own":
            return
        own = next(iter(bands.values()))[0].header.lattice.transform
        for name, found in bands.items():
            if not self.layers[name].resampling:
                for header in {band.header.path: band.header for band in found}.values():
                    _refuse_other_pixels(header, tiles[:1] if header.lattice.transform == own else tiles)

    def _time(self, number: int, bands: Mapping[str, Sequence[BandOfFile]]) -> datetime:
        known = self.settings.constant_time or self.listing.times[number]
        tags = (found[0].header.tags for found in bands.values())
        texts = (tag[key] for tag in tags for key in self.settings.time_tags if key in tag)
        moment = known or next(filter(None, map(moment_of, texts)), None)
        if moment is None:
            raise Fatal(
                f"the time of place {self.listing.names[number]!r} is not known: give files.time (a date for all, or a "
                f"template), {self._time_remedy()}, or the name of a tag in files.time_tags."
            )
        return moment

    def _time_remedy(self) -> str:
        if self.settings.items:
            return "the item its datetime (or start_datetime) in ISO 8601"
        return "a column time in the table" if self.settings.table else "{time} in a pattern"


def _refuse_other_pixels(header: Header, tiles: Sequence[Tile]) -> None:
    """Raise `Fatal` where a tile has no pixels of the file: those of two files may part far from their corners."""
    for tile in tiles:
        window_of(header.lattice, tile.grid, header.path)
