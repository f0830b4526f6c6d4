"""The coordinates along `chip`: what a store itself says of its chips, as it follows from the manifest.

Numbers stand beside texts of which there are few, for readers that know no texts (tensorstore).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.chip import LEVELS, ROLES
from pipeline.grid import centres_lonlat, epsg_codes
from pipeline.manifest import SPLITS, Manifest

CHUNK_ROWS = 65_536
PLACED_SINCE = 3  # the format of the store that says where each chip lies, and of which scenes it is
NO_TIME = int(np.iinfo(np.int64).min)  # what NumPy calls NaT
UNLISTED = -1  # the code of a text that is not in the table of its codes
_TEXT = np.dtypes.StringDType()
_GRID = ("crs", "origin_x_m", "origin_y_m", "resolution_m", "height_px", "width_px")


@dataclass(frozen=True)
class Coordinate:
    """An array along `chip`: `of` makes its values (rows,) of the manifest's `columns`, each (rows,).

    `since` is the first format of the store that has it; `fill` is the value that stands for none, if one does.
    """

    name: str
    dtype: Any
    columns: tuple[str, ...]
    of: Callable[..., NDArray[Any]]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    since: int = PLACED_SINCE
    fill: int | None = None

    def blocks(self, manifest: Manifest) -> Iterator[NDArray[Any]]:
        """The values of all rows of a manifest, `CHUNK_ROWS` at a time."""
        for columns in manifest.blocks(CHUNK_ROWS, *self.columns):
            yield self.of(*columns).astype(self.dtype)


def coordinates_of(format_version: int) -> tuple[Coordinate, ...]:
    """The coordinates that a store of a format has, in the order in which they are made."""
    return tuple(item for item in COORDINATES if item.since <= format_version)


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    return values


def _texts(values: NDArray[Any]) -> NDArray[Any]:
    return np.where(pd.isna(values), "", values)


def _seconds(times: NDArray[Any]) -> NDArray[Any]:
    return times.astype("datetime64[s]").astype(np.int64)


def _milliseconds(times: NDArray[Any]) -> NDArray[Any]:
    return times.astype("datetime64[ms]").astype(np.int64)  # of NaT, NO_TIME


def _codes(listed: Sequence[str]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    return lambda values: np.select([values == text for text in listed], range(len(listed)), UNLISTED)


def _centre(axis: int) -> Callable[..., NDArray[Any]]:
    return lambda *grid: centres_lonlat(*grid)[:, axis]


def _coded(name: str, listed: Sequence[str]) -> Coordinate:
    """The column called `name` as the position of each text among those `listed`."""
    flags = {"flag_values": list(range(len(listed))), "flag_meanings": " ".join(listed)}
    about = {"long_name": f"{name} as a number, {UNLISTED} for any other"}
    return Coordinate(f"{name}_code", np.int8, (name,), _codes(listed), about | flags)


def _scene(role: str) -> Iterator[Coordinate]:
    id_of, time_of = f"{role}_id", f"{role}_time"
    yield Coordinate(id_of, _TEXT, (id_of,), _texts, {"long_name": f"asset id of the {role} scene, empty for none"})
    about = {"units": "milliseconds since 1970-01-01", "calendar": "proleptic_gregorian",
             "long_name": f"sensing time of the {role} scene", "_FillValue": NO_TIME}  # fmt: skip
    yield Coordinate(time_of, np.int64, (time_of,), _milliseconds, about, fill=NO_TIME)


def _metres(name: str, what: str) -> Coordinate:
    return Coordinate(name, np.float64, (name,), _plain, {"units": "m", "long_name": what})


COORDINATES = (
    Coordinate("chip", _TEXT, ("id",), _plain, {"long_name": "location id"}, since=1),
    Coordinate("longitude", np.float64, ("lon",), _plain, {"units": "degrees_east"}, since=1),
    Coordinate("latitude", np.float64, ("lat",), _plain, {"units": "degrees_north"}, since=1),
    Coordinate("time", np.int64, ("anchor_time",), _seconds, {
        "units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian",
        "long_name": "sensing time of the anchor scene",
    }, since=1),
    Coordinate("level", _TEXT, ("level",), _plain, {"long_name": "processing level of the anchor scene"}, since=1),
    Coordinate("split", _TEXT, ("split",), _plain, {"long_name": "train, val or test"}, since=1),
    Coordinate("epsg", np.int32, ("crs",), epsg_codes, {
        "long_name": "EPSG code of the CRS of the chip's grid, 0 for a CRS without one",
    }),
    _metres("origin_x_m", "x of the outer corner of the chip's upper left pixel, in its CRS"),
    _metres("origin_y_m", "y of the outer corner of the chip's upper left pixel, in its CRS"),
    _metres("resolution_m", "side of a pixel, in the chip's CRS"),
    Coordinate("centre_longitude", np.float64, _GRID, _centre(0), {
        "units": "degrees_east", "long_name": "longitude of the centre of the chip's pixels",
    }),
    Coordinate("centre_latitude", np.float64, _GRID, _centre(1), {
        "units": "degrees_north", "long_name": "latitude of the centre of the chip's pixels",
    }),
    *(item for role in ROLES for item in _scene(role)),
    _coded("level", LEVELS),
    _coded("split", SPLITS),
)  # fmt: skip
COORDINATE_NAMES = frozenset(item.name for item in COORDINATES)
