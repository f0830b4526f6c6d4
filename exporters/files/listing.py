"""The places and their files, as found by patterns in a folder, or listed by a table or STAC items."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from exporters.files.bands import BAND, SEPARATOR
from exporters.files.description import FilesSettings, LayerSettings
from exporters.files.moment import moment_of
from exporters.files.pattern import TIME, Pattern, filled
from exporters.files.stac_items import read_items
from pipeline.errors import Fatal

Layers = Mapping[str, LayerSettings]
_PLACE, _BAND = "place", "band"


@dataclass
class Listing:
    """One entry per place: its name, its time (UTC) or None, its files by layer (None for none), and what else is said.

    Several files of a layer are one text, joined by `SEPARATOR`. Columns, not rows: there may be a million places.
    """

    names: list[str] = field(default_factory=list)
    times: list[datetime | None] = field(default_factory=list)
    files: dict[str, list[str | None]] = field(default_factory=dict)
    columns: dict[str, list[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    def add(self, name: str) -> int:
        """A new place of which nothing else is known yet; its number."""
        self.names.append(name)
        columns: list[list[Any]] = [self.times, *self.files.values(), *self.columns.values()]
        for column in columns:
            column.append(None)
        return len(self.names) - 1

    def say(self, number: int, key: str, value: Any) -> None:
        """Put what is said of a place into a column; the first time counts, else what was said before must be equal."""
        column: list[Any] = self.times if key == TIME else self.columns.setdefault(key, [None] * len(self))
        known = column[number]
        if known is None:
            column[number] = value
        elif key != TIME and known != value:
            raise Fatal(
                f"the files of place {self.names[number]!r} say both {known!r} and {value!r} for {key}; correct one."
            )

    def by_name(self) -> Listing:
        """The same places in the order of their names."""
        order = sorted(range(len(self)), key=self.names.__getitem__)
        files, columns = (
            {key: [values[index] for index in order] for key, values in group.items()}
            for group in (self.files, self.columns)
        )
        return Listing([self.names[index] for index in order], [self.times[index] for index in order], files, columns)


def found_files(settings: FilesSettings, layers: Layers) -> Listing:
    """The places whose files the patterns of the layers find, by name.

    Raises `Fatal` for a pattern that finds nothing, two files for one place and layer, and contradictions.
    """
    listing, numbers = _empty(layers), dict[str, int]()
    for name, layer in _with_files(layers):
        pattern = Pattern(layer.files)
        by_band: dict[int, dict[str, str]] = {}
        for path, says in pattern.find(settings.folder):
            place = says.pop(_PLACE, None) or path.rpartition("/")[2].rpartition(".")[0]
            number = numbers[place] if place in numbers else numbers.setdefault(place, listing.add(place))
            if _BAND in says:
                _put(by_band.setdefault(number, {}), says.pop(_BAND), path, name, place)
                listing.files[name][number] = path
            else:
                _put(listing.files[name], number, path, name, place)
            for key, value in _typed(says, pattern, path).items():
                listing.say(number, key, value)
        _join_bands(listing, by_band, name, layer)
        if not any(listing.files[name]):
            raise Fatal(f"no file in {settings.folder} fits {layer.files!r} of layer {name!r}; correct the pattern.")
    return _timed(listing.by_name(), settings)


def _empty(layers: Layers) -> Listing:
    return Listing(files={name: [] for name, _ in _with_files(layers)})


def _with_files(layers: Layers) -> Iterator[tuple[str, LayerSettings]]:
    return ((name, layer) for name, layer in layers.items() if not layer.column)


def _typed(says: dict[str, str], pattern: Pattern, path: str) -> dict[str, Any]:
    if TIME not in says:
        return dict(says)
    moment = _moment(says[TIME], pattern.time_form)
    if moment is None:
        raise Fatal(f"{says[TIME]!r} in the name of {path} is no time; say how it is written, as in {{time:%Y%m%d}}.")
    return {**says, TIME: moment}


_moment = lru_cache(maxsize=4096)(moment_of)  # files of a day share one object


def _put(files: Any, key: Any, path: str, layer: str, place: str) -> None:
    known = files.get(key) if isinstance(files, dict) else files[key]
    if known is not None:
        raise Fatal(
            f"place {place!r} has two files for layer {layer!r}: {known} and {path}; name places apart with "
            "{place} in the pattern, or remove one."
        )
    files[key] = path


def _join_bands(listing: Listing, by_band: Mapping[int, Mapping[str, str]], name: str, layer: LayerSettings) -> None:
    """One text for the files of a place that have a band each, in the order of the layer's bands."""
    if by_band and not layer.bands:
        raise Fatal(f"layer {name!r} has a file per band ({BAND}), and does not say which; list them in its bands.")
    for number, files in by_band.items():
        absent = next((str(band) for band in layer.bands if str(band) not in files), None)
        if absent is not None:
            place = listing.names[number]
            raise Fatal(f"place {place!r} has no file for band {absent!r} of layer {name!r}; add it, or take it out.")
        listing.files[name][number] = SEPARATOR.join(files[str(band)] for band in layer.bands)


def _gathered(rows: Iterable[tuple[str, Mapping[str, Any]]], layers: Layers) -> Listing:
    listing = _empty(layers)
    for place, row in rows:
        number = listing.add(place)
        for name, path in row[""].items():
            listing.files[name][number] = path
        for key, value in row.items():
            if key:
                listing.say(number, key, value)
    return listing


def listed_in_table(settings: FilesSettings, layers: Layers, table: pa.Table) -> Listing:
    """The places of a table: files, names and times are templates of its columns. Raises `Fatal` for repeated names."""
    rows = (_table_row(settings, layers, row, number) for number, row in enumerate(_records(table), 1))
    remedy = "give another `place`, a template of columns that differ"
    return _refusing_repeated(_gathered(rows, layers), str(settings.table), remedy)


def _records(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=8192):
        yield from batch.to_pylist()


def _table_row(settings: FilesSettings, layers: Layers, row: dict[str, Any], number: int) -> tuple[str, dict[str, Any]]:
    texts = {key: "" if value is None else str(value) for key, value in row.items()}
    files = {name: _filled(layer.files, texts, settings) for name, layer in _with_files(layers)}
    place = _filled(settings.place, texts, settings) if settings.place else None
    first = next((path for path in files.values() if path), "")
    kept = {key: value for key, value in row.items() if key != TIME}
    moment = _row_time(settings, row, texts)
    name = place or first.rpartition("/")[2].rpartition(".")[0] or f"row{number}"
    return name, {**kept, "": files, TIME: moment}


def _filled(template: str, texts: dict[str, str], settings: FilesSettings) -> str | None:
    unknown = [name for name in Pattern(template).names if name not in texts]
    if unknown:
        raise Fatal(
            f"{settings.table or settings.items} has no column {unknown[0]!r}, which {template!r} needs; "
            f"it has {', '.join(texts)}."
        )
    return filled(template, texts)


def _row_time(settings: FilesSettings, row: Mapping[str, Any], texts: dict[str, str]) -> datetime | None:
    template = settings.time if settings.time and "{" in settings.time else "{time}" if TIME in row else ""
    text = _filled(template, texts, settings) if template else None
    if not text:
        return None
    return _template_moment(text, template, str(settings.table))


def _template_moment(text: str, template: str, source: str) -> datetime:
    moment = moment_of(text, Pattern(template).time_form)
    if moment is None:
        raise Fatal(
            f"{text!r} in {source} is no time; write it in ISO 8601, or say in files.time how it is written, as in "
            "{name:%Y%m%d}."
        )
    return moment


def _timed(listing: Listing, settings: FilesSettings) -> Listing:
    """The listing with the times that `files.time` says as a template of what the patterns or items say of a place.

    Raises `Fatal` for a name that they do not say, and for what is no time.
    """
    template = settings.time if settings.time and "{" in settings.time else ""
    names = Pattern(template).names
    absent = next((name for name in names if name not in listing.columns), None)
    if absent is not None:
        known = ", ".join(listing.columns) or "nothing more"
        raise Fatal(f"files.time = {template!r} needs {absent!r}, and the places say {known}; correct it.")
    for number, place in enumerate(listing.names if names else ()):
        said = {name: listing.columns[name][number] for name in names}
        text = filled(template, {name: "" if value is None else str(value) for name, value in said.items()})
        if text:
            listing.times[number] = _template_moment(text, template, f"what is said of place {place!r}")
    return listing


def listed_in_items(settings: FilesSettings, layers: Layers) -> Listing:
    """The places of STAC items: an item is a place, its assets are files. Raises `Fatal` as `read_items`."""
    rows = (
        (item.id, {**item.properties, TIME: item.time,
                   "": {name: _assets(item.assets, layer, name, item.id) for name, layer in _with_files(layers)}})
        for item in read_items(settings.items or Path())
    )  # fmt: skip
    remedy = "leave one of the items out"
    return _timed(_refusing_repeated(_gathered(rows, layers), str(settings.items), remedy), settings)


def _assets(assets: Mapping[str, str], layer: LayerSettings, name: str, item: str) -> str | None:
    if not layer.assets:
        raise Fatal(f"layer {name!r} does not say which assets of the items are its files; give its assets.")
    there = [assets[key] for key in layer.assets if key in assets]
    if there and len(there) < len(layer.assets):
        absent = next(key for key in layer.assets if key not in assets)
        raise Fatal(f"item {item!r} has no asset {absent!r} of layer {name!r}; it has {', '.join(assets)}.")
    return SEPARATOR.join(there) or None


def _refusing_repeated(listing: Listing, source: str, remedy: str) -> Listing:
    seen: set[str] = set()
    for name in listing.names:
        if name in seen:
            raise Fatal(f"{source} has two places {name!r}; {remedy}.")
        seen.add(name)
    if not listing.names:
        raise Fatal(f"{source} has no rows; there has to be one for each place.")
    return listing
