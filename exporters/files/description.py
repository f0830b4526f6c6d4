"""What a person says about files: where they are, which file is which layer and band, and at which time."""

from __future__ import annotations

import re
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from exporters.files.moment import moment_of
from pipeline.modality import Category, Resampling

_WHOLE = re.compile(r"-?[0-9]{1,18}")


class _Table(BaseModel):
    """A table of the TOML file: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FilesSettings(_Table):
    """Where the files are, and what holds for all layers.

    Paths of layers are relative to `folder`. They are found by patterns in it, or listed by a `table` (CSV, Parquet or
    a vector file, a row per place) or by STAC `items` (STAC-GeoParquet, or JSON files and folders of them). `place` is
    a template of a table's columns that names a row. `time` is a date for all, or a template; without it the pattern's
    {time}, the items' datetime, or the first of `time_tags` in a layer's file says it. `grid` is that of the first
    layer's files ("own"), or a square around the middle of each of them in its UTM zone, on the 10 m lattice ("utm").
    """

    folder: Path = Path(".")
    table: Path | None = None
    items: Path | None = None
    place: str = ""
    time: str | None = None
    time_tags: tuple[str, ...] = ("datetime", "anchor_time", "acquisition_datetime")
    grid: Literal["own", "utm"] = "own"
    level: str = ""

    @field_validator("time", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return value.isoformat() if isinstance(value, date) else value

    @field_validator("time")
    @classmethod
    def _is_a_moment(cls, value: str | None) -> str | None:
        if value is not None and "{" not in value and moment_of(value) is None:
            raise ValueError("it is no date; write one such as 2018-06-01, or a template such as {date}")
        return value

    @model_validator(mode="after")
    def _has_one_list(self) -> Self:
        if self.table and self.items:
            raise ValueError("table and items are two lists of the same files; give one")
        return self

    @property
    def constant_time(self) -> datetime | None:
        """The time of all places (UTC), if it is one."""
        return None if self.time is None or "{" in self.time else moment_of(self.time)


class LayerSettings(_Table):
    """Which files are a layer, and what is in them.

    `files` is a pattern (*, **, ?, {place}, {time}, {time:%Y%m%d}, {split}, {band}, any other {name}), or a template of
    a table's columns; `assets` are keys of STAC items. `bands` choose: names or patterns of names that the files have,
    or numbers from 1; in files without names they name all. `names` call the chosen ones otherwise. `variables` are
    those of netCDF or HDF5. `column` makes a layer of a column of the places in place of files. `classes` are names, or
    [name, colour], by code. `nodata` is also taken for no data where the files do not say it. `resampling` lets the
    files have another grid than the first layer's.
    """

    files: str = ""
    assets: tuple[str, ...] = ()
    column: str = ""
    variables: tuple[str, ...] = ()
    bands: tuple[int | str, ...] = ()
    names: tuple[str, ...] = ()
    classes: dict[str, str | tuple[str, str]] = Field(default_factory=dict)
    dtype: str | None = None
    nodata: float | None = None
    units: str | tuple[str, ...] = ""
    title: str = ""
    resampling: Resampling | None = None
    time_rule: str = "anchor"
    rgb: tuple[str, str, str] | None = None
    range: tuple[float, float] | None = None
    reference: str = ""
    licence: str = ""
    attribution: str = ""

    @field_validator("classes")
    @classmethod
    def _codes_are_numbers(cls, value: dict[str, Any]) -> dict[str, Any]:
        wrong = next((code for code in value if not _WHOLE.fullmatch(code)), None)
        if wrong is not None:
            raise ValueError(f"code {wrong!r} is no whole number")
        if len(set(map(int, value))) != len(value):
            raise ValueError("two of its codes are the same number")
        return value

    @model_validator(mode="after")
    def _has_one_origin(self) -> Self:
        if sum(map(bool, (self.files, self.assets, self.column))) != 1:
            raise ValueError("it needs one of files, assets and column")
        return self

    @property
    def categories(self) -> tuple[Category, ...]:
        """The classes as given, by code; none without any."""
        given = {int(code): (text,) if isinstance(text, str) else text for code, text in self.classes.items()}
        return tuple(Category(code, *given[code]) for code in sorted(given))
