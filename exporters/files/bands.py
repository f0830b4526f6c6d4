"""Which bands of which files are a layer's, in its order, and what they are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path

from exporters.files.description import LayerSettings
from exporters.files.header import Header, variable_path
from exporters.files.open_raster import is_address
from exporters.files.raster import RasterBands
from pipeline.errors import Fatal

SEPARATOR = " | "  # between the paths of several files of a layer
BAND = "{band}"


@dataclass(frozen=True)
class BandOfFile:
    """A band, numbered from 1, of the file with this header, and its name in the layer."""

    header: Header
    number: int
    name: str


def layer_bands(layer: LayerSettings, name: str, folder: Path, paths: str) -> list[BandOfFile]:
    """The bands of the layer called `name` in its files at one place: `paths` below `folder`, joined by `SEPARATOR`.

    Raises `Fatal` for a file that cannot be read or does not fit the description.
    """
    headers = [Header.of(path) for path in raster_paths(layer, folder, paths)]
    labels = _labels(layer)
    if len(labels) != len(headers):
        raise Fatal(f"layer {name!r} has {len(headers)} files at one place, and not {len(labels)}: {paths}.")
    every = [band for label, header in zip(labels, headers, strict=True) for band in _of_file(label, header)]
    chosen = _renamed(_chosen(every, layer, name), layer, name)
    _refuse_complex(chosen)
    return chosen


def _refuse_complex(bands: Sequence[BandOfFile]) -> None:
    for band in bands:
        if "complex" in band.header.dtypes[band.number - 1]:
            raise Fatal(f"band {band.number} of {band.header.path} has complex numbers; convert it to real ones first.")


def raster_paths(layer: LayerSettings, folder: Path, paths: str) -> list[str]:
    """What GDAL opens: the files, or each variable in each."""
    files = [path if is_address(path) else str(folder / path) for path in paths.split(SEPARATOR)]
    if not layer.variables:
        return files
    return [variable_path(path, variable) for path in files for variable in layer.variables]


def as_sources(bands: Sequence[BandOfFile], nodata: float | None = None) -> list[RasterBands]:
    """The same as files with numbers of bands, neighbours in one file together; `nodata` is that of `RasterBands`."""
    sources: list[RasterBands] = []
    for band in bands:
        last = sources[-1] if sources else None
        if last and last.path == band.header.path:
            sources[-1] = RasterBands(last.path, (*last.bands, band.number), nodata)
        else:
            sources.append(RasterBands(band.header.path, (band.number,), nodata))
    return sources


def _labels(layer: LayerSettings) -> tuple[str, ...]:
    """A name for each file of the layer; "" where there is one."""
    if BAND in layer.files:
        return tuple(map(str, layer.bands))
    return layer.assets if len(layer.assets) > 1 else layer.variables or ("",)


def _of_file(label: str, header: Header) -> list[BandOfFile]:
    names = _own_names(header)
    if label:
        names = [label] if len(names) == 1 else [f"{label}_{name}" for name in names]
    return [BandOfFile(header, number, name) for number, name in enumerate(names, 1)]


def _own_names(header: Header) -> list[str]:
    """The names in the file, dates of a netCDF variable's steps, or numbers."""
    if header.are_named:
        return list(header.names)
    dates = _step_dates(header)
    if len(set(dates)) == len(header.names):
        return dates
    return [str(number) for number in range(1, len(header.names) + 1)]


def _step_dates(header: Header) -> list[str]:
    """The day of each band, YYYYMMDD, of a variable along a time in days; none where it is another axis."""
    for key, text in header.tags.items():
        axis = key.removeprefix("NETCDF_DIM_").removesuffix("_VALUES")
        units = header.tags.get(f"{axis}#units", "")
        if key == f"NETCDF_DIM_{axis}_VALUES" and units.startswith("days since "):
            try:
                start = datetime.fromisoformat(units.removeprefix("days since ").strip())
                return [f"{start + timedelta(days=float(day)):%Y%m%d}" for day in text.strip("{}").split(",")]
            except (ValueError, OverflowError):
                return []
    return []


def _chosen(every: list[BandOfFile], layer: LayerSettings, name: str) -> list[BandOfFile]:
    if not layer.bands or BAND in layer.files:
        return every
    if _names_all(every, layer):
        return _called(every, [str(wanted) for wanted in layer.bands], name)
    chosen = [band for wanted in layer.bands for band in _fitting(every, wanted, name)]
    taken = [(band.header.path, band.number) for band in chosen]
    if len(set(taken)) != len(taken):
        raise Fatal(f"layer {name!r} takes a band of {every[0].header.path} twice; correct its bands.")
    return chosen


def _names_all(every: list[BandOfFile], layer: LayerSettings) -> bool:
    """Whether `bands` are names for all bands of a file that has none."""
    unnamed = not every[0].header.are_named and not layer.variables and len({band.header.path for band in every}) == 1
    return unnamed and all(isinstance(wanted, str) and not set(wanted) & set("*?[") for wanted in layer.bands)


def _called(bands: list[BandOfFile], names: Sequence[str], layer: str) -> list[BandOfFile]:
    if len(names) != len(bands):
        raise Fatal(
            f"{bands[0].header.path} has {len(bands)} bands to take, and layer {layer!r} names {len(names)}; "
            "correct its bands or names."
        )
    return [BandOfFile(band.header, band.number, name) for band, name in zip(bands, names, strict=True)]


def _fitting(every: list[BandOfFile], wanted: int | str, layer: str) -> list[BandOfFile]:
    if isinstance(wanted, int):
        fitting = every[wanted - 1 : wanted] if wanted > 0 else []
    else:
        fitting = [band for band in every if fnmatchcase(band.name, wanted)]
    if not fitting:
        known = ", ".join(band.name for band in every[:20]) + (", ..." if len(every) > 20 else "")
        raise Fatal(
            f"{every[0].header.path} has no band {wanted!r} for layer {layer!r}; it has {known}. Call them otherwise "
            "with `names`."
        )
    return fitting


def _renamed(bands: list[BandOfFile], layer: LayerSettings, name: str) -> list[BandOfFile]:
    return _called(bands, layer.names, name) if layer.names else bands
