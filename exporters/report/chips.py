"""The gallery of the report: the chips shown, with every modality as a picture or as values."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from exporters.report.facts import Coverage, finished_rows
from exporters.report.map import colour_of
from pipeline.chip import ROLES, Chip
from pipeline.corpus import Corpus
from pipeline.drawing import Picture, draw_all
from pipeline.modality import Modality

# The sine of pi is not exactly zero in floating point; values this small relative to a layer's range are shown as 0.
_NOTHING = 1e-9


@dataclass(frozen=True)
class Tile:
    """A picture of one modality, or `note` in place of it; `present` are its class codes."""

    modality: str
    title: str
    image: str = ""
    note: str = ""
    alt: str = ""
    present: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Value:
    """One band of an image-level modality: its text and, for numbers, its position in the range, 0 to 1."""

    label: str
    text: str
    share: float | None = None
    colour: str = ""


@dataclass(frozen=True)
class ValueGroup:
    """The values of an image-level modality."""

    modality: str
    values: tuple[Value, ...]
    note: str = ""


@dataclass(frozen=True)
class Card:
    """One chip of the gallery; `scenes` are roles and asset ids of those that it is pinned to."""

    row: int
    id: str
    heading: str
    biome: str
    colour: str
    facts: tuple[str, ...]
    scenes: tuple[tuple[str, str], ...]
    tiles: tuple[Tile, ...]
    groups: tuple[ValueGroup, ...]


def choose_rows(corpus: Corpus, chips: int) -> list[int]:
    """Manifest rows of the gallery: biomes in turn; within a biome, chips with the most finished layers first."""
    finished = finished_rows(corpus)
    biome = corpus.manifest.column("biome").astype(int)
    ordered = np.argsort(-finished, kind="stable")
    ordered = ordered[finished[ordered] > 0]
    queues = [ordered[biome[ordered] == number][:chips].tolist() for number in np.unique(biome)]
    turns = [row for turn in zip_longest(*queues) for row in turn if row is not None]
    return sorted(turns[:chips], key=lambda row: (biome[row] == 0, biome[row], row))


def cards(corpus: Corpus, covered: Iterable[Coverage], rows: Iterable[int]) -> list[Card]:
    """The gallery's cards, one per row, the layers in the order of `_drawing_order`."""
    layers = sorted(covered, key=lambda item: _drawing_order(item.modality))
    return [_card(corpus, row, layers) for row in rows]


def _card(corpus: Corpus, row: int, layers: list[Coverage]) -> Card:
    chip = corpus.manifest[row]
    tiles: list[Tile] = []
    groups: list[ValueGroup] = []
    for layer in layers:
        stored, note = _stored(corpus, layer, row)
        if layer.modality.extent == "pixel":
            tiles += _tiles(layer.modality, stored, note, chip)
        else:
            groups.append(_values(layer, stored, note))
    location = chip.location
    heading = location.ecoregion_name or location.biome_name or location.id
    biome = location.biome_name if location.ecoregion_name else ""
    sorted_groups = tuple(sorted(groups, key=_length))
    colour = colour_of(location.biome)
    return Card(row, location.id, heading, biome, colour, _facts(chip), _scenes(chip), tuple(tiles), sorted_groups)


def _length(group: ValueGroup) -> int:
    return len(group.values)


def _drawing_order(modality: Modality) -> tuple[int, int, str]:
    """True-colour images first, then relief, grey images and classes; pixel layers before image-level ones."""
    styles = ("rgb", "hillshade", "grey", "none", "classes")
    return modality.extent == "image", styles.index(modality.display.style), modality.name


def _facts(chip: Chip) -> tuple[str, ...]:
    location = chip.location
    return (
        place(location.lon, location.lat),
        f"{chip.acquisition.date:%Y-%m-%d}",
        f"level {chip.acquisition.level}",
        chip.split,
        f"row {chip.row}",
    )


def _scenes(chip: Chip) -> tuple[tuple[str, str], ...]:
    scenes = ((role, getattr(chip.acquisition, role)) for role in ROLES)
    return tuple((role, scene.asset_id) for role, scene in scenes if scene is not None)


def place(lon: float, lat: float) -> str:
    """Degrees as text, such as 12.345° S 6.789° E."""
    return f"{abs(lat):.3f}\u00b0 {'N' if lat >= 0 else 'S'} {abs(lon):.3f}\u00b0 {'E' if lon >= 0 else 'W'}"


def _stored(corpus: Corpus, layer: Coverage, row: int) -> tuple[NDArray[Any] | None, str]:
    """The stored values of one chip, (bands[, y, x]) in the stored dtype; or the reason why there are none."""
    modality = layer.modality
    if row // corpus.shard_rows not in corpus.finished(modality.name):
        return None, "not exported yet"
    (entry,) = corpus.ledger.without_statistics(modality.name, [row // corpus.shard_rows])
    if row in entry.missing:
        return None, entry.missing[row]
    stored = corpus.read(modality.name, slice(row, row + 1))[0]
    return (stored, "") if np.any(modality.valid(stored)) else (None, "no valid values")


def _tiles(modality: Modality, stored: NDArray[Any] | None, note: str, chip: Chip) -> list[Tile]:
    if stored is None:
        return [Tile(modality.name, modality.title, note=note)]
    return [
        _tile(modality, stored, band, picture, chip)
        for band, picture in draw_all(modality, stored, chip.grid.resolution_m)
    ]


def _tile(modality: Modality, stored: NDArray[Any], band: str, picture: Picture, chip: Chip) -> Tile:
    caption, title = f"{modality.name} {band}".strip(), f"{modality.title}{f', {band}' if band else ''}"
    valid = modality.valid(stored[modality.band_names.index(band)] if band else stored)
    if not np.any(valid):
        return Tile(caption, title, note="no valid values")
    present = frozenset(np.unique(stored).tolist()) if modality.categories else frozenset()
    alt = f"{title} at {place(*chip.location.lonlat)}, {float(np.mean(valid)):.0%} valid"
    return Tile(caption, title, data_uri(picture), "", alt, present)


def data_uri(picture: Picture) -> str:
    """A picture, (y, x, 3) uint8, as a PNG in a data URI; one with few colours has a palette."""
    image = Image.fromarray(picture)
    if image.getcolors(64) is not None:
        image = image.quantize(64)
    stream = io.BytesIO()
    image.save(stream, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _ranges(layer: Coverage) -> list[tuple[float, float]]:
    """The physical range of every band; bands with the same unit share it, so that their bars are comparable."""
    modality = layer.modality
    spans: dict[str, list[float]] = {}
    for index, band in enumerate(modality.bands):
        result = [bands[index] for bands in layer.statistics.values()]
        ends = modality.ranges[index] or [end for item in result for end in (item.minimum, item.maximum)]
        physical = [end * modality.scale + modality.offset for end in ends if end is not None]
        spans.setdefault(band.units, []).extend(physical)
    return [(min(spans[band.units], default=0.0), max(spans[band.units], default=0.0)) for band in modality.bands]


def _values(layer: Coverage, stored: NDArray[Any] | None, note: str) -> ValueGroup:
    modality = layer.modality
    if stored is None:
        return ValueGroup(modality.name, (), note)
    if modality.categories:
        return ValueGroup(modality.name, tuple(_category(modality, code) for code in stored.tolist()))
    rows = zip(modality.bands, modality.physical(stored).tolist(), _ranges(layer), strict=True)
    return ValueGroup(modality.name, tuple(_number(band.name, band.units, *rest) for band, *rest in rows))


def _category(modality: Modality, code: int) -> Value:
    result = next((category for category in modality.categories if category.code == code), None)
    return Value("", result.name if result else f"unknown class {code}", None, result.colour if result else "")


def _number(name: str, units: str, value: float, limits: tuple[float, float]) -> Value:
    if not np.isfinite(value):
        return Value(name, "no data")
    low, high = limits
    if abs(value) < _NOTHING * (high - low):
        value = 0.0
    share = float(np.clip((value - low) / (high - low), 0, 1)) if high > low else None
    return Value(name, f"{value:.4g}" + ("" if units == "1" else f" {units}"), share)
