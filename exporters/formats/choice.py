"""What a person asks for of a corpus: row numbers, places, conditions on the manifest's columns, layers."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from keyword import iskeyword
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from exporters.formats.selection import Selection
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.manifest import Manifest
from pipeline.measured import column, known_columns, unknown_column

_EARTH_RADIUS_KM = 6371.0088  # IUGG mean radius
# What a condition may be made of: comparisons of columns with constants, put together. No calls, no attributes.
_ALLOWED = (
    ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.Compare, ast.cmpop, ast.Name,
    ast.Load, ast.Constant, ast.List, ast.Tuple,
)  # fmt: skip
_STAND_IN = "column_called_"  # in a condition before a column whose name is a word of Python
_OF_CONDITIONS = ("and", "or", "not", "in", "is", "True", "False", "None")


@dataclass(frozen=True)
class Choice:
    """Rows that fulfil all that is given; nothing given means all rows and all layers.

    `rows` is "0:100,250" (the end is not included), each of `places` is "lon,lat" in degrees or the id of a place, and
    `where` a condition such as "split == 'val' and biome in [1, 4]".
    """

    rows: str = ""
    places: Sequence[str] = ()
    where: str = ""
    layers: Sequence[str] = ()

    def of(self, corpus: Corpus) -> Selection:
        """The selection of a corpus. Raises `Fatal` for a part that cannot be understood, and if no row is left."""
        manifest = corpus.manifest
        chosen = np.ones(len(manifest), dtype=bool)
        for part in (
            _numbered(self.rows, len(manifest)),
            _at(self.places, manifest),
            fulfilling(self.where, corpus),
        ):
            if part is not None:
                chosen &= part
        if not chosen.any():
            raise Fatal(f"no chip of {corpus.folder} is left; loosen --rows, --place or --where.")
        return Selection(corpus, np.flatnonzero(chosen).astype(np.int64), _layers(self.layers, corpus))


def _layers(names: Sequence[str], corpus: Corpus) -> tuple[str, ...]:
    return tuple(corpus.modality(name).name for name in names or sorted(corpus.modalities))


def _numbered(text: str, count: int) -> NDArray[np.bool_] | None:
    if not text:
        return None
    chosen = np.zeros(count, dtype=bool)
    for part in text.split(","):
        chosen[_slice(part.strip(), text, count)] = True
    return chosen


def _slice(part: str, text: str, count: int) -> slice:
    first, colon, last = part.partition(":")
    try:
        start = int(first or 0) if colon else int(first)
        stop = (int(last) if last else count) if colon else start + 1
    except ValueError as error:
        raise Fatal(f"--rows {text!r} is not understood; write for example 0:100,250.") from error
    if not 0 <= start < stop <= count:
        raise Fatal(f"--rows {part!r} is not within the corpus, whose rows are 0 to {count - 1}.")
    return slice(start, stop)


def _at(places: Sequence[str], manifest: Manifest) -> NDArray[np.bool_] | None:
    if not places:
        return None
    return np.logical_or.reduce([_place(place, manifest) for place in places])


def _place(place: str, manifest: Manifest) -> NDArray[np.bool_]:
    by_id = np.asarray(manifest.column("id") == place)
    if by_id.any():
        return by_id
    try:
        lon, lat = map(float, place.split(","))
    except ValueError as error:
        raise Fatal(f"--place {place!r} is neither the id of a chip nor lon,lat in degrees; correct it.") from error
    return _nearest(lon, lat, manifest)


def _nearest(lon: float, lat: float, manifest: Manifest) -> NDArray[np.bool_]:
    """The chip whose centre is nearest, if the point lies within its footprint's circle."""
    distance_km = _distance_km(lon, lat, manifest.column("lon").astype(float), manifest.column("lat").astype(float))
    row = int(np.argmin(distance_km))
    reach_km = manifest.size_px * manifest.resolution_m / 1000 / np.sqrt(2)
    if not distance_km[row] <= reach_km:
        raise Fatal(
            f"no chip covers {lon}, {lat}; the nearest, {manifest[row].location.id}, is {distance_km[row]:.1f} km away."
        )
    return np.asarray(np.arange(len(manifest)) == row)


def _distance_km(lon: float, lat: float, lons: NDArray[Any], lats: NDArray[Any]) -> NDArray[np.float64]:
    """Great-circle distances (n,) from a point, degrees, by the haversine formula."""
    d_lat, d_lon = np.radians(lats - lat) / 2, np.radians(lons - lon) / 2
    half = np.sin(d_lat) ** 2 + np.cos(np.radians(lat)) * np.cos(np.radians(lats)) * np.sin(d_lon) ** 2
    return np.asarray(2 * _EARTH_RADIUS_KM * np.arcsin(np.sqrt(half)), dtype=np.float64)


def fulfilling(where: str, corpus: Corpus) -> NDArray[np.bool_] | None:
    """Which rows (n,) fulfil a condition; None without one. Raises `Fatal` for one that is not understood.

    A chip of which a measured column is not known fulfils no comparison of it but `!=`.
    """
    if not where:
        return None
    known = known_columns(corpus)
    where = _plain(where, known)
    names = _columns(where, known)
    table = pd.DataFrame({_STAND_IN + name if iskeyword(name) else name: column(corpus, name) for name in names})
    try:
        result = table.eval(where, engine="python")
    except (TypeError, ValueError, KeyError, SyntaxError, NotImplementedError, AttributeError) as error:
        raise Fatal(f"--where {where!r} does not work ({error}); compare columns with values of their type.") from error
    if getattr(result, "dtype", None) != np.dtype(bool):
        raise Fatal(f"--where {where!r} is no condition; write for example \"split == 'val' and biome in [1, 4]\".")
    return np.asarray(result)


def _plain(where: str, known: Sequence[str]) -> str:
    """The condition with stand-ins for columns that are words of Python, such as "class"; texts stay as they are."""
    words = [name for name in known if iskeyword(name) and name not in _OF_CONDITIONS]
    if not words:
        return where
    texts_or_words = rf"('[^']*'|\"[^\"]*\")|\b({'|'.join(words)})\b"
    return re.sub(texts_or_words, lambda found: found[1] or _STAND_IN + found[2], where)


def _columns(where: str, known: Sequence[str]) -> list[str]:
    """The columns in a condition. Raises `Fatal` for an unknown one and whatever is more than a comparison."""
    try:
        nodes = list(ast.walk(ast.parse(where, mode="eval")))
    except (SyntaxError, ValueError) as error:
        raise Fatal(f"--where {where!r} is not understood; write for example \"split == 'val'\".") from error
    if not all(isinstance(node, _ALLOWED) for node in nodes):
        raise Fatal(f"--where {where!r} is more than a condition: compare columns with values, join by and, or, not.")
    names = sorted({node.id.removeprefix(_STAND_IN) for node in nodes if isinstance(node, ast.Name)})
    for name in names:
        if name not in known:
            raise unknown_column(name, known)
    if not names:
        raise Fatal(f"--where {where!r} names no column of the manifest; compare one with a value.")
    return names
