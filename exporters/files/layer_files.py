"""What `source.layers` says of a layer: its files as a pattern, a list of STAC items, or a TOML file of its bands."""

from __future__ import annotations

import glob
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from exporters.files.header import variable_path
from exporters.files.open_raster import is_address
from pipeline.errors import Fatal, unknown_name
from pipeline.modality import Modality

PREFIX = "files:"


@dataclass(frozen=True)
class BandFiles:
    """The files of some bands of a layer: paths, patterns with * and **, or URLs. `nodata` is as in `RasterBands`;
    `variable` is that of netCDF or HDF5 files, with its groups."""

    bands: tuple[str, ...]
    patterns: tuple[str, ...]
    nodata: float | None = None
    variable: str = ""

    def paths(self) -> list[str]:
        """The files there are, sorted within each pattern, as GDAL opens them. Raises `Fatal` for a pattern that finds
        none, and for a variable of files that have none."""
        found = [path for pattern in self.patterns for path in _found(pattern)]
        return [variable_path(path, self.variable) for path in found] if self.variable else found


def _found(pattern: str) -> list[str]:
    if is_address(pattern):
        return [pattern]
    found = sorted(str(Path(path).absolute()) for path in glob.glob(pattern, recursive=True) if Path(path).is_file())
    if not found:
        raise Fatal(f"no file is called {pattern}; correct source.layers.")
    return found


class _Description(BaseModel):
    """The TOML file: `files` for all bands, or `bands` with the files of each."""

    model_config = ConfigDict(extra="forbid")

    files: str | list[str] = Field(default_factory=list)
    bands: dict[str, str | list[str]] = Field(default_factory=dict)
    nodata: float | None = None
    variable: str = ""


def files_of(layer: Modality, text: str) -> list[BandFiles]:
    """The files of a layer, in groups of bands that lie in the same files.

    `text` is `files:` and a pattern or URL, or a TOML file. Raises `Fatal` for anything else, and for a layer that no
    static file can be: one that changes with the chip's date, or has one value per chip.
    """
    where = text.removeprefix(PREFIX)
    if where == text or not where:
        raise Fatal(f'source.layers.{layer.name} = {text!r} is not allowed: write "files:" and a path with * in it.')
    _refuse_unfit(layer)
    if where.endswith(".toml"):
        return _described(layer, Path(where))
    return [BandFiles(layer.band_names, (where,))]


def absolute(text: str) -> str:
    """The same text of `source.layers` for a process that works in another folder."""
    where = text.removeprefix(PREFIX)
    return text if is_address(where) else f"{PREFIX}{Path(where).absolute()}"


def _refuse_unfit(layer: Modality) -> None:
    why = "has one value per chip" if layer.extent == "image" else "changes with the chip's date"
    if layer.extent == "image" or layer.time_rule != "static":
        raise Fatal(f"source.layers.{layer.name}: this layer {why}, so files cannot give it; leave it out.")


def _described(layer: Modality, path: Path) -> list[BandFiles]:
    try:
        plain = tomllib.loads(path.read_text(encoding="utf-8"))
        description = _Description.model_validate(plain)
    except ValidationError as error:
        first = error.errors()[0]
        raise Fatal(f"{path}: {'.'.join(map(str, first['loc']))} is not allowed: {first['msg'].lower()}.") from error
    except (OSError, ValueError) as error:
        raise Fatal(f"{path} cannot be read as TOML: {error}.") from error
    if bool(description.files) == bool(description.bands):
        raise Fatal(f"{path} needs either files, or [bands] with the files of each band.")
    if description.files:
        return [_group(layer.band_names, path, description.files, description)]
    return _of_bands(layer, path, description)


def _of_bands(layer: Modality, path: Path, description: _Description) -> list[BandFiles]:
    unknown = next((band for band in description.bands if band not in layer.band_names), None)
    if unknown is not None:
        raise unknown_name(f"band of layer {layer.name!r} in {path}", unknown, layer.band_names)
    lacking = [band for band in layer.band_names if band not in description.bands]
    if lacking:
        raise Fatal(f"{path} gives no files for band {lacking[0]!r} of layer {layer.name!r}; add them.")
    return [_group((band,), path, description.bands[band], description) for band in layer.band_names]


def _group(bands: tuple[str, ...], path: Path, patterns: str | Sequence[str], description: _Description) -> BandFiles:
    return BandFiles(bands, _absolute(path, patterns), description.nodata, description.variable)


def _absolute(description: Path, patterns: str | Sequence[str]) -> tuple[str, ...]:
    """Patterns relative to the folder of the TOML file."""
    every = [patterns] if isinstance(patterns, str) else patterns
    return tuple(item if is_address(item) else str(description.parent / item) for item in every)
